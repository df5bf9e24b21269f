"""What models exist and what each one is, found out without loading any. Imports neither torch nor transformers."""
