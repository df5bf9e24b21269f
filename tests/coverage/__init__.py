"""The instrument that compares this project's answers with the libraries', model by model: `make coverage`."""
