"""Models on transformers that turn text into sound: VITS, SpeechT5 with a vocoder, MusicGen.

Owns how each of them is loaded and asked. Speaks numpy outwards. Not thread-safe: one thread at a time may call one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoProcessor, AutoTokenizer, SpeechT5HifiGan
from transformers.generation import StoppingCriteria
from transformers.utils import is_phonemizer_available, is_uroman_available

from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.tasks.base import Head
from modelyard.tasks.maker import OnStep
from modelyard.tasks.model import Array
from modelyard.worker.runtimes.device import choose_device
from modelyard.worker.runtimes.failures import loading_errors, making_errors
from modelyard.worker.runtimes.generation_settings import drop_unused
from modelyard.worker.runtimes.heads import choose_class, refuse_missing_weights
from modelyard.worker.runtimes.library_logs import quiet_library
from modelyard.worker.runtimes.making import Stopped, choose_seed
from modelyard.worker.runtimes.tensors import to_numpy
from modelyard.worker.runtimes.transformers import load_weights


def load_model(
    path: Path,
    heads: tuple[Head, ...],
    *,
    device: str = "auto",
    remote_code: bool = False,
) -> SoundModel:
    """The model in the folder `path`, in eval mode on `device`.

    Reads local files only, and weights from safetensors only. On CUDA the weights keep their stored
    dtype, on the CPU they become float32. `remote_code` changes nothing: the families served here need none.

    Raises: ModelRefused when the files cannot be served, BootFailed when loading failed.
    """
    where = choose_device(device)
    with loading_errors(path, str(where)), quiet_library():
        config = AutoConfig.from_pretrained(path, local_files_only=True)
        family = FAMILIES.get(config.model_type)
        if family is None:
            raise ModelRefused(f"{config.model_type} models are not served; of those with sound, {served()} are.")
        head, kind = choose_class(config, heads, remote_code=False)
        model, missing = load_weights(kind, path, config, where)
        refuse_missing_weights(head, missing)
        return family(path, model.eval().to(where))


class SoundModel:
    """One model; see `tasks.maker.Maker`. A family says in `speak` how it is asked."""

    settings: frozenset[str]
    rate: int

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
        """What a tokenizer returned, on the model's device."""
        return {name: tensor.to(self.model.device) for name, tensor in encoded.items()}


class Vits(SoundModel):
    """VITS: the whole sound in one pass."""

    def __init__(self, path: Path, model: Any) -> None:
        """Raises ModelRefused when the voice's letters need a program that is not here."""
        super().__init__(path, model)
        self.rate = int(model.config.sampling_rate)
        self._speakers = int(model.config.num_speakers)
        self.settings = frozenset({"text", "seed", "speaking_rate", "noise_scale", "noise_scale_duration"}) | (
            {"speaker_id"} if self._speakers > 1 else frozenset()
        )
        self._scales = {name: getattr(model, name) for name in ("noise_scale", "noise_scale_duration")}
        self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        for needs, package, here in (
            ("phonemize", "phonemizer", is_phonemizer_available),
            ("is_uroman", "uroman", is_uroman_available),
        ):
            if getattr(self._tokenizer, needs, False) and not here():
                raise ModelRefused(f"{path.name} reads text by way of {package}, which is not installed here.")

    def speak(self, text: str, options: Mapping[str, Any], on_step: OnStep) -> Array:
        """See SoundModel."""
        arguments = self.tensors(self._tokenizer(text, return_tensors="pt"))
        if not arguments["input_ids"].shape[1]:
            raise InvalidRequest(field="text", got=text, accepted="a text with letters that this voice can read")
        if self._speakers > 1:
            arguments["speaker_id"] = self._speaker(options.get("speaker_id", 0))
        for name, usual in self._scales.items():
            setattr(self.model, name, options.get(name, usual))
        waveform = self.model(**arguments, speaking_rate=options.get("speaking_rate")).waveform[0]
        on_step(1, 1)
        return to_numpy(waveform)

    def _speaker(self, speaker: int) -> int:
        if speaker >= self._speakers:
            raise InvalidRequest(field="params.speaker_id", got=speaker, accepted=f"0 to {self._speakers - 1}")
        return speaker


class SpeechT5(SoundModel):
    """SpeechT5: a spectrogram, a few frames a step, that the vocoder in the folder `vocoder/` turns into sound."""

    settings = frozenset({"text", "seed", "speaker_embedding"})

    def __init__(self, path: Path, model: Any) -> None:
        """Raises ModelRefused when there is no vocoder."""
        super().__init__(path, model)
        if not (path / "vocoder" / "config.json").exists():
            raise ModelRefused(
                f"{path.name} makes spectrograms and has no vocoder to make sound of them. "
                "Put one (e.g. microsoft/speecht5_hifigan) into its folder as vocoder/."
            )
        self._vocoder = SpeechT5HifiGan.from_pretrained(path / "vocoder", dtype=model.dtype, local_files_only=True)
        self._vocoder = self._vocoder.eval().to(model.device)
        self._processor = AutoProcessor.from_pretrained(path, local_files_only=True)
        self._voice_size = int(model.config.speaker_embedding_dim)
        self.rate = int(self._vocoder.config.sampling_rate)

    def speak(self, text: str, options: Mapping[str, Any], on_step: OnStep) -> Array:
        """See SoundModel."""
        inputs = self.tensors(self._processor(text=text, return_tensors="pt"))
        most = int(inputs["input_ids"].shape[1] * 20 / self.model.config.reduction_factor)  # the library's own limit
        done = 0

        def count(*_: object) -> None:
            nonlocal done
            done += 1
            if on_step(done, max(done, most)):
                raise Stopped

        with self.model.speecht5.decoder.wrapped_decoder.register_forward_hook(count):
            waveform = self.model.generate_speech(
                inputs["input_ids"],
                self._voice(options.get("speaker_embedding")),
                attention_mask=inputs["attention_mask"],
                vocoder=self._vocoder,
            )
        return to_numpy(waveform)

    def _voice(self, embedding: list[float] | None) -> torch.Tensor:
        if embedding is None or len(embedding) != self._voice_size:
            raise InvalidRequest(
                field="params.speaker_embedding",
                got=embedding,
                accepted=f"a list of {self._voice_size} numbers, the x-vector of a voice",
            )
        return torch.tensor([embedding], dtype=self.model.dtype, device=self.model.device)


class Musicgen(SoundModel):
    """MusicGen: a few codes a step, several of which lie one step apart, then all of them decoded to sound."""

    settings = frozenset(
        {
            "text", "seed", "duration", "max_new_tokens", "guidance_scale", "do_sample", "temperature", "top_k",
            "top_p",
        }
    )  # fmt: skip

    def __init__(self, path: Path, model: Any) -> None:
        super().__init__(path, model)
        self.rate = int(model.config.audio_encoder.sampling_rate)
        self._processor = AutoProcessor.from_pretrained(path, local_files_only=True)
        self._codebooks = int(model.config.decoder.num_codebooks)

    def speak(self, text: str, options: Mapping[str, Any], on_step: OnStep) -> Array:
        """See SoundModel. `duration` is kept to the sample."""
        config = copy.deepcopy(self.model.generation_config)
        vars(config).update(
            {
                name: options[name]
                for name in ("guidance_scale", "do_sample", "temperature", "top_k", "top_p")
                if name in options
            }
        )
        if (length := self._length(options)) is not None:
            vars(config).update(max_new_tokens=length, max_length=None)
        drop_unused(config)
        waveform = self.model.generate(
            **self.tensors(self._processor(text=[text], return_tensors="pt")),
            generation_config=config,
            stopping_criteria=[CountSteps(on_step, length or (config.max_length or LIBRARY_LENGTH) - 1)],
        )
        sound = to_numpy(waveform[0])  # (channels, samples)
        if "duration" in options:
            sound = sound[:, : round(options["duration"] * self.rate)]
        return sound[0] if len(sound) == 1 else np.ascontiguousarray(sound.T)

    def _length(self, options: Mapping[str, Any]) -> int | None:
        """Steps to make, when the request says; the last codes come `codebooks - 1` steps after the first."""
        if "duration" not in options:
            return options.get("max_new_tokens")
        steps = int(np.ceil(options["duration"] * self.model.config.audio_encoder.frame_rate)) + self._codebooks - 1
        return max(steps, 2 * self._codebooks)  # shorter ones the library makes in another order


LIBRARY_LENGTH = 20
"""How long the library makes an answer, its first step included, when neither request nor model says."""


class CountSteps(StoppingCriteria):  # type: ignore[misc]
    """Ends nothing by itself: counts steps, and leaves the library's loop when told to."""

    def __init__(self, on_step: OnStep, total: int) -> None:
        self._on_step = on_step
        self._total = total
        self._done = 0

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Raises Stopped."""
        self._done += 1
        if self._on_step(self._done, self._total):
            raise Stopped
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


FAMILIES: dict[str, type[SoundModel]] = {"vits": Vits, "speecht5": SpeechT5, "musicgen": Musicgen}
"""The config's model_type → how such a model is asked."""


def served() -> str:
    """The families, for a message."""
    return ", ".join(FAMILIES)
