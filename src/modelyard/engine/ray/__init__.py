"""Nodes of a Ray cluster: Ray says which there are, and keeps an actor on each, whose child is the node's agent.

Only `program` and `actor` import Ray, which is an extra of this package; neither runs in a server's process.
"""
