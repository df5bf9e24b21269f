"""What OpenAI's clients send and read, a file per call; `base` has what the calls share."""
