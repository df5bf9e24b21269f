"""Models of which one part writes an answer and others say it (Qwen-Omni): which voices they have, and an answer with
its sound. The library's own `generate` of the whole model does both; here it is told how to write, and left early where
nothing is to be said.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, StoppingCriteria

from modelyard.errors import ModelRefused
from modelyard.tasks.model import Array, OnTokens
from modelyard.worker.runtimes.failures import first_line
from modelyard.worker.runtimes.heads import HEADS
from modelyard.worker.runtimes.making import Stopped, choose_seed
from modelyard.worker.runtimes.pickles import load_restricted
from modelyard.worker.runtimes.tensors import to_numpy

VOICES_FILE = "spk_dict.pt"
"""In which a Qwen2.5-Omni's voices are published: a pickle of tensors and numbers by their names."""
MOST_BYTES = 64 * 1024**2
"""Of that file. The published ones have less than one."""
PARTS_OF_VOICE = frozenset({"cond", "ref_mel", "bos_token"})
RATE = 24_000
"""Samples in a second of these models' sound, which their configs do not say."""
ENDS = ("tts_codec_end_token_id", "tts_codec_pad_token_id", "codec_eos_token_id")
"""What configs call the codes that end what is said."""
FEWEST_TOKENS = 2
"""Of an answer that the library can say."""

Voices = Mapping[str, Any]
"""By name, what the library makes of one."""


def read_voices(folder: Path, config: Any) -> Voices | None:
    """The voices of the whole model in `folder`; None where it has no part that speaks. Raises ModelRefused."""
    if not getattr(config, "enable_audio_output", False):
        return None
    named = getattr(config.talker_config, "speaker_id", None)
    if named is not None:
        return dict(named)
    file = folder / VOICES_FILE
    return read_voices_file(file) if file.is_file() else {}


def read_voices_file(file: Path) -> Voices:
    """What the file holds. Raises ModelRefused for anything else than voices."""
    if file.stat().st_size > MOST_BYTES:
        raise ModelRefused(f"{file.name} has {file.stat().st_size:,} bytes, and voices have at most {MOST_BYTES:,}.")
    try:
        held = load_restricted(file)
    except Exception as error:
        raise ModelRefused(f"{file.name} cannot be read as voices alone: {first_line(error)[:200]}") from error
    if not isinstance(held, Mapping) or not all(is_voice(each) for each in held.values()):
        raise ModelRefused(
            f"{file.name} holds something else than voices, each of {', '.join(sorted(PARTS_OF_VOICE))}."
        )
    return {str(name): voice for name, voice in held.items()}


def is_voice(held: Any) -> bool:
    """Whether it is what the library makes a voice of."""
    return isinstance(held, Mapping) and held.keys() >= PARTS_OF_VOICE


def find_whole_class(config: Any) -> Any:
    """The library's class of the whole model, without its own way of loading one, which opens files besides."""
    kind = HEADS["multimodal-lm"][type(config)]
    plain: Any = classmethod(PreTrainedModel.from_pretrained.__func__)
    return type(kind.__name__, (kind,), {"from_pretrained": plain, "__module__": kind.__module__})


def find_ends(config: Any) -> frozenset[int]:
    """The codes that end what is said."""
    return frozenset(getattr(config.talker_config, name) for name in ENDS if hasattr(config.talker_config, name))


class Speech:
    """What a whole model says its answers with. `voices`: their names, none where its files hold none."""

    rate = RATE

    def __init__(self, whole: Any, voices: Voices) -> None:
        """`whole`: the model, in eval mode; None without voices."""
        self.voices = tuple(voices)
        self._whole = whole
        if whole is None:
            return
        whole.thinker.generation_config = whole.generation_config
        if hasattr(whole, "speaker_map"):
            whole.speaker_map.update(voices)

    def open(self, voice: str, seed: int | None, on_tokens: OnTokens) -> Saying:
        """One answer that is to be said. `on_tokens`: as in `Model.generate`, of one row."""
        return Saying(self._whole, voice, seed, on_tokens)


class Saying:
    """One answer. `sound`: (samples,) float32, once it was said; None: it was too short, or nobody waited any more."""

    def __init__(self, whole: Any, voice: str, seed: int | None, on_tokens: OnTokens) -> None:
        self.sound: Array | None = None
        self._whole = whole
        self._voice = voice
        self._seed = choose_seed(seed)
        self._on_tokens = on_tokens

    def generate(
        self, *, generation_config: Any, stopping_criteria: Sequence[Any], logits_processor: Any, **tensors: Any
    ) -> None:
        """Takes the place of the `generate` of the part that writes, whose arguments these are. Returns nothing:
        `stopping_criteria` holds the tokens."""
        (rows,) = stopping_criteria
        torch.manual_seed(self._seed)
        try:
            _, sound = self._whole.generate(
                **self._named(tensors),
                speaker=self._voice,
                thinker_max_new_tokens=generation_config.max_new_tokens,
                thinker_eos_token_id=generation_config.eos_token_id,
                thinker_generation_config=generation_config,
                thinker_stopping_criteria=[WorthSaying(rows, self._on_tokens)],
                thinker_logits_processor=logits_processor,
                talker_stopping_criteria=[WhileWaitedFor(self._on_tokens, find_ends(self._whole.config))],
            )
        except Stopped:
            return
        self.sound = to_numpy(sound.reshape(-1))

    def _named(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs as the whole model takes them: it hands all but these on to the part that speaks as well, which
        takes what it needs to tell places apart, and no pictures."""
        takes = inspect.signature(self._whole.talker.forward).parameters
        shared = {"input_ids", "input_features", "feature_attention_mask", *takes}
        return {name if name in shared else f"thinker_{name}": value for name, value in tensors.items()}


class WorthSaying(StoppingCriteria):  # type: ignore[misc]  # the library is untyped
    """What ends the one row that is written. Leaves the library where that row is too short to be said, or nobody waits
    for it any more. Raises Stopped."""

    def __init__(self, rows: Any, on_tokens: OnTokens) -> None:
        self._rows = rows
        self._on_tokens = on_tokens

    def __call__(self, input_ids: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
        """The done mask after a step."""
        done: torch.Tensor = self._rows(input_ids, scores, **more)
        made = input_ids.shape[1] - self._rows.prompt_width
        if done.all() and (made < FEWEST_TOKENS or self._on_tokens(0, ())):
            raise Stopped
        return done


class WhileWaitedFor(StoppingCriteria):  # type: ignore[misc]
    """Ends nothing. Leaves the library where the first code already ends what is said, or nobody waits any more. Raises
    Stopped."""

    def __init__(self, on_tokens: OnTokens, ends: frozenset[int]) -> None:
        self._on_tokens = on_tokens
        self._ends = ends
        self._has_begun = False

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """The done mask after a step."""
        says_nothing = not self._has_begun and int(input_ids[0, -1]) in self._ends
        if says_nothing or self._on_tokens(0, ()):
            raise Stopped
        self._has_begun = True
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
