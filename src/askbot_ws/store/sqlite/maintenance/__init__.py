"""Maintenance: check, repair and backup of a store. None of it is needed to serve."""
