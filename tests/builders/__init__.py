"""Tiny real models, random but always the same, saved as `save_pretrained` does: what tests load instead of downloads.

`build(family, folder)` makes one; `python -m tests.builders FAMILY FOLDER` does so from a shell.
"""

from tests.builders import generative, multimodal, vision
from tests.builders.families import FAMILIES, build

FAMILIES.update(vision.FAMILIES)
FAMILIES.update(generative.FAMILIES)
FAMILIES.update(multimodal.FAMILIES)

__all__ = ["FAMILIES", "build"]
