"""What the model libraries write to the log while they load. Owns how much of it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet_library(library_logging: Any = transformers_logging) -> Iterator[None]:
    """Keeps a library's progress bars and load reports off the log: what matters is raised.

    `library_logging`: its `utils.logging`; transformers and diffusers have one of the same shape.
    """
    verbosity, bars = library_logging.get_verbosity(), library_logging.is_progress_bar_enabled()
    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()
    try:
        yield
    finally:
        library_logging.set_verbosity(verbosity)
        if bars:
            library_logging.enable_progress_bar()
