"""Chaos of a cluster: three nodes behind a balancer, real servers of Redis, and everything that may go wrong there."""
