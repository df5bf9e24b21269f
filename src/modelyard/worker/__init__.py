"""One process = one replica: load a model, answer requests in batches, report state. Gets no database and no keys."""
