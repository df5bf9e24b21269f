"""Who may use the server, how much, and at what price."""
