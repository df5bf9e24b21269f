"""What families that turn text into sound have in common: one call, its random numbers, its steps, voices, settings.

Loads no model. Speaks numpy outwards. Not thread-safe: one thread at a time may call a model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from modelyard.errors import InvalidRequest
from modelyard.tasks.maker import OnStep
from modelyard.tasks.model import Array
from modelyard.worker.runtimes.failures import making_errors
from modelyard.worker.runtimes.generation_settings import drop_unused
from modelyard.worker.runtimes.making import Stopped, choose_seed

CHOOSING = ("do_sample", "temperature", "top_k", "top_p")
"""Settings of how a step is chosen, by the library's names, which are the tasks' too."""
MOST_TOLD = 100
"""Voices that a refusal lists; the largest models have some hundreds."""


class SoundModel:
    """One model; see `tasks.maker.Maker`. A family says in `speak` how it is asked."""

    settings: frozenset[str]
    rate: int
    library_class: str | None = None
    """The library's class of the model, where its table of what turns text into sound does not have it."""

    def __init__(self, path: Path, model: Any) -> None:
        """`model` is in eval mode and on its device already. Overridden by families that read more from `path`."""
        self.path = path
        self.model = model

    def make(self, options: Mapping[str, Any], on_step: OnStep) -> Array | None:
        """See `tasks.maker.Maker.make`."""
        try:
            with making_errors("sound"), torch.inference_mode():
                torch.manual_seed(choose_seed(options.get("seed")))
                return self.speak(options["text"], options, on_step)
        except Stopped:
            return None

    def speak(self, text: str, options: Mapping[str, Any], on_step: OnStep) -> Array:
        """The sound of `text`. The random numbers are seeded already. Raises Stopped when `on_step` says so."""
        raise NotImplementedError

    def tensors(self, encoded: Mapping[str, Any]) -> dict[str, Any]:
        """What a tokenizer or processor returned, on the model's device, floats in the model's own type."""
        return {name: self.tensor(value) for name, value in encoded.items()}

    def tensor(self, value: Any) -> Any:
        """One of them."""
        if not isinstance(value, torch.Tensor):
            return value.to(self.model.device)
        dtype = self.model.dtype if value.is_floating_point() else None
        return value.to(self.model.device, dtype=dtype)

    def generation_config(self, options: Mapping[str, Any], *names: str) -> Any:
        """The model's own, with what of CHOOSING and `names` the request sets, and its length."""
        config = copy.deepcopy(self.model.generation_config)
        vars(config).update({name: options[name] for name in (*CHOOSING, *names) if name in options})
        if "max_new_tokens" in options:
            vars(config).update(max_new_tokens=options["max_new_tokens"], max_length=None)
        drop_unused(config)
        return config


@contextmanager
def count_passes(modules: Sequence[Any], on_step: OnStep, total: int) -> Iterator[None]:
    """Tells of each pass of `modules`, which are a model's steps, about `total` of them. Raises Stopped."""
    done = 0

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        if on_step(done, max(done, total)):
            raise Stopped

    hooks = [module.register_forward_hook(count) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def steps_of(config: Any, usual: int) -> int:
    """How many steps a generation takes at most. `usual`: where its config does not say."""
    return int(config.max_new_tokens or config.max_length or usual)


def check_voice(voice: str, voices: Sequence[str]) -> str:
    """The same. Raises InvalidRequest for a voice that the model does not have."""
    if voice in voices:
        return voice
    shown = ", ".join(voices[:MOST_TOLD]) + (f" and {len(voices) - MOST_TOLD} more" if voices[MOST_TOLD:] else "")
    accepted = f"one of the model's voices: {shown}" if voices else "not set: this model has no voices with names"
    raise InvalidRequest(field="params.voice", got=voice, accepted=accepted)


def check_speaker(speaker: int, speakers: int) -> int:
    """The same. Raises InvalidRequest for a number beyond those of the model's voices."""
    if speaker >= speakers:
        raise InvalidRequest(field="params.speaker_id", got=speaker, accepted=f"0 to {speakers - 1}")
    return speaker
