"""What model libraries raise, as errors of this project. Owns the sentences about loading and running a model.

Imports no model library, so that workers without torch share it.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelyard.errors import BootFailed, InferenceFailed, InvalidRequest, ModelRefused
from modelyard.worker.limits import input_too_large, says_out_of_memory
from modelyard.worker.runtimes.device import release_device_memory

log = logging.getLogger(__name__)

FOREIGN = (RuntimeError, IndexError, ValueError, KeyError, TypeError, MemoryError, AttributeError, SystemError)
"""What model libraries raise for an input they cannot take."""


@contextmanager
def loading_errors(path: Path, device: str) -> Iterator[None]:
    """Turns what libraries raise while they load the folder `path` onto `device` into ModelRefused, or BootFailed
    when memory ran out."""
    try:
        yield
    except (*FOREIGN, OSError, ImportError) as error:
        if is_out_of_memory(error):
            raise BootFailed(f"The model does not fit into the memory of {device}: {first_line(error)}") from error
        raise ModelRefused(f"{path.name} cannot be loaded: {first_line(error)}", path=str(path)) from error


@contextmanager
def batch_errors(inputs: Mapping[str, Any]) -> Iterator[None]:
    """Turns what libraries raise on a batch of `inputs` into InferenceFailed; the traceback goes to the log."""
    try:
        yield
    except FOREIGN as error:
        what = f"on a batch of {describe_batch(inputs)}"
        raise failed_inference(error, what, "Send a shorter input, or less at once.") from error


@contextmanager
def making_errors(what: str, *, value_errors_are_the_clients: bool = False) -> Iterator[None]:
    """Turns what libraries raise while making `what` into errors of this project; the traceback goes to the log.

    `value_errors_are_the_clients`: the library raises ValueError for arguments that it cannot follow; it becomes
    InvalidRequest. All else becomes InferenceFailed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the libraries' notes to their own developers
            yield
    except FOREIGN as error:
        failed = failed_inference(error, f"while making {what}", "Ask for something smaller or shorter.")
        if value_errors_are_the_clients and isinstance(error, ValueError) and not is_out_of_memory(error):
            raise InvalidRequest(f"params: {first_line(error)}", field="params") from error
        raise failed from error


def failed_inference(error: Exception, what: str, remedy: str) -> InferenceFailed:
    """What the client reads. `what`: what the model was doing, `remedy`: what helps when memory ran out."""
    if is_out_of_memory(error):
        release_device_memory()
        log.warning("out of memory %s", what)
        return input_too_large(error, what, remedy)
    log.error("the model failed %s", what, exc_info=error)
    return InferenceFailed(f"The model failed on this input: {first_line(error)}")


def describe_batch(inputs: Mapping[str, Any]) -> str:
    """The batch's size, for messages: tokens when it has any, else its first array."""
    name = "input_ids" if "input_ids" in inputs else next(iter(inputs), "nothing")
    shape = " × ".join(str(size) for size in getattr(inputs.get(name), "shape", ()))
    return f"{shape} {'tokens' if name == 'input_ids' else name}".strip()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, a device's or the machine's."""
    torch = sys.modules.get("torch")
    return says_out_of_memory(error) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def first_line(error: BaseException) -> str:
    """The error's first line of text, or its class when it has none."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def last_line(error: BaseException) -> str:
    """The error's last line of text, where what happened follows a heading; its class when it has none."""
    text = str(error).strip().splitlines()
    return text[-1].strip() if text else type(error).__name__
