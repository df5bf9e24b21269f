"""Gateways in processes of their own: they follow the one that owns routes, limits and records, over frames."""
