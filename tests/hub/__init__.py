"""A model hub on this machine, for tests: the parts of the real one's protocol that downloads use."""
