"""The console: a page that speaks the API with the key of whoever uses it."""
