"""Model: two nodes and a Redis, in which only the order of what happens is chosen; all orders are tried."""
