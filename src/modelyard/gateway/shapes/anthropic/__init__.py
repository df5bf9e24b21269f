"""What Anthropic's clients send and read, a file per noun. Only describes: `surfaces.anthropic` speaks it."""
