"""The `modelyard` command: one file per noun. Starts fast: whatever is slow to import is imported where it is used."""
