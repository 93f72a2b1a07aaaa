"""Nodes: several processes with one store. Who lives, who writes which session, and commands that are forwarded."""
