"""Programs of the peers' servers. Each runs in its own environment, and imports nothing of ours but `model`."""
