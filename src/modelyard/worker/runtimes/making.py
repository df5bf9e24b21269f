"""What the runtimes that make media share: stopping, seeds, and what the libraries raise. Loads and calls no model."""

from __future__ import annotations

import logging
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from modelyard.errors import InferenceFailed, InvalidRequest
from modelyard.worker.runtimes.processors import first_line
from modelyard.worker.runtimes.transformers import is_out_of_memory

log = logging.getLogger(__name__)


class Stopped(Exception):
    """Raised inside a library's loop to leave it: nobody waits for the answer any more."""


def choose_seed(asked: int | None) -> int:
    """The seed that was asked for, or a fresh one: replicas forked from one process would draw the same numbers."""
    return secrets.randbits(63) if asked is None else asked


@contextmanager
def foreign_errors(what: str, *, value_errors_are_the_clients: bool = False) -> Iterator[None]:
    """Turns what torch and the library raise while making `what` into ModelyardErrors; the trace goes to the log.

    `value_errors_are_the_clients`: the library raises ValueError for arguments that it cannot follow.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the libraries' notes to their own developers
            yield
    except (RuntimeError, IndexError, ValueError, KeyError, TypeError, MemoryError, AttributeError) as error:
        if is_out_of_memory(error):
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            log.warning("out of memory while making %s", what)
            raise InferenceFailed(
                f"The model ran out of memory while making {what}. Ask for something smaller or shorter.",
                out_of_memory=True,
            ) from error
        log.exception("the model failed while making %s", what)
        if isinstance(error, ValueError) and value_errors_are_the_clients:
            raise InvalidRequest(f"params: {first_line(error)}", field="params") from error
        raise InferenceFailed(f"The model failed on this input: {first_line(error)}") from error
