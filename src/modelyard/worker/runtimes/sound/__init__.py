"""Families of transformers' models that turn text into sound: how each is asked, and what its voices are called."""
