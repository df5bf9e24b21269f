"""Tiny real models, random but always the same, saved as `save_pretrained` does: what tests load instead of downloads.

`build(family, folder)` makes one; `python -m tests.builders FAMILY FOLDER` does so from a shell. Importing this imports
no model library: a test that finds its models kept by an earlier run may never need one.
"""

from tests.builders.kept import build

__all__ = ["build"]
