"""How waiting calls become work for the one thread that may touch the model."""
