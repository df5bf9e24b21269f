"""Decides which replicas should exist and makes it so: observe → plan → act → record. Serves no requests itself."""
