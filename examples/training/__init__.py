"""Everything examples/train.py needs: the grammars, the tokenizers and one module per model."""
