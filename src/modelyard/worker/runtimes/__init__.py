"""What holds a model's weights and runs them. The only package that imports torch or transformers."""
