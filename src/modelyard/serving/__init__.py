"""The composition root: from settings to a server that takes requests. Imported by the command line only."""
