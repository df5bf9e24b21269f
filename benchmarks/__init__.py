"""Benchmarks: each prints its figures side by side with what they are compared to, in one run."""
