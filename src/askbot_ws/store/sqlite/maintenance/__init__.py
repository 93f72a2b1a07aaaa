"""Looking after a store: check, repair and backup. None of it is needed to serve."""
