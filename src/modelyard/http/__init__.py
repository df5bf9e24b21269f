"""HTTP as this program serves it, whichever process does: one exchange, one configuration of the server."""
