"""What the model libraries do about adapters by themselves once peft is installed. Owns how much of it they may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.integrations import peft

from modelyard.records.adapters import CONFIG_FILE, WEIGHTS_FILE


@contextmanager
def only_whole_adapters(path: Path) -> Iterator[None]:
    """Lets transformers load the adapter that lies beside the model in `path`, as models that hear come with one, only
    where its safetensors do: those who merge an adapter leave its config behind, and the library fails on that."""
    asks = peft.is_peft_available
    if (path / CONFIG_FILE).exists() and not (path / WEIGHTS_FILE).exists():
        peft.is_peft_available = lambda: False
    try:
        yield
    finally:
        peft.is_peft_available = asks


def leave_peft_out_of_diffusers() -> None:
    """Keeps diffusers from importing peft, for adapters that nobody asks it for. To be called before its pipelines are
    imported; 0.1 s of each of its boots."""
    from diffusers.utils import import_utils

    import_utils._peft_available = False
