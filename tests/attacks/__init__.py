"""Attacks on a running server, over HTTP and files alone: each test fails on a server that has the fault."""
