"""Replicas on other machines: an agent on each runs them, servers speak to it."""
