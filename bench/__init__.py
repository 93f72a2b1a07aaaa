"""What it costs, beside others, in one run."""
