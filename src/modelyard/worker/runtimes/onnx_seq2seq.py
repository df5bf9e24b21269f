"""Encoder-decoders that others have exported to ONNX: their graphs in the shape of one of the library's models, so that
everything about generation is the torch runtime's own, unchanged.

What the source was made into stays where it is; the cache goes into the decoder as inputs and comes back as outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, EncoderDecoderCache, GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from modelyard.errors import ModelRefused
from modelyard.records.onnx_graphs import find_decoders
from modelyard.tasks.base import Head
from modelyard.tasks.model import Array
from modelyard.worker.runtimes.onnx import prepare
from modelyard.worker.runtimes.onnx_generation import BRANCH, IDS, MASK, POSITIONS, filled, to_cache
from modelyard.worker.runtimes.onnx_published import PAST, shape_of_nothing
from modelyard.worker.runtimes.onnx_session import Session
from modelyard.worker.runtimes.processors import load_parts
from modelyard.worker.runtimes.transformers import TransformersModel, ensure_pad_token

SOURCES = (IDS, "input_features", "input_values", "pixel_values")
"""What encoders read: text, spectrograms, samples, pictures."""
STATES, SOURCE_MASK, PLACES = "encoder_hidden_states", "encoder_attention_mask", "cache_position"
"""Of decoders: what the encoder has given, which of it is padding, and the places of the new tokens."""
OF_SOURCE = ".encoder."
"""In the names of the part of a cache that is made of the source, once."""


def load_published_seq2seq(folder: Path, encoder: Path, head: Head) -> TransformersModel:
    """The encoder-decoder in `folder` by graphs that others have exported. Raises ModelRefused, and what the libraries
    raise."""
    names = {each.name for each in encoder.parent.iterdir()}
    decoders = [encoder.with_name(name) for name in find_decoders(encoder.name, names)]
    if not decoders:
        raise ModelRefused(f"{encoder.name} has no decoder of its kind beside it.", path=str(folder))
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    tokenizer, processor = load_parts(folder, head, config, remote_code=False)
    sessions = [Session(file, gives_back=False) for file in decoders]
    module = Seq2SeqGraph(
        config,
        EncoderGraph(Session(encoder, gives_back=False), encoder),
        DecoderGraph(sessions[0], decoders[0]),
        DecoderGraph(sessions[-1], decoders[-1]),
    )
    if (folder / "generation_config.json").is_file():
        module.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    ensure_pad_token(tokenizer, module)
    return TransformersModel(folder, module.eval(), tokenizer, processor)


class EncoderGraph(torch.nn.Module):  # type: ignore[misc]  # the library is untyped
    """The graph that reads. `main_input_name`: of what it reads."""

    def __init__(self, session: Session, file: Path) -> None:
        """Raises ModelRefused for a graph that reads what no task gives."""
        super().__init__()
        self._session = session
        sources = [name for name in session.inputs if name != MASK]
        if len(sources) != 1 or sources[0] not in SOURCES or "last_hidden_state" not in session.outputs:
            raise ModelRefused(
                f"{file.name} reads {', '.join(session.inputs)} and gives {', '.join(session.outputs)}; encoders are "
                f"served that read one of {', '.join(SOURCES)} and give last_hidden_state. Take the original weights.",
                path=str(file.parent),
            )
        self.main_input_name = sources[0]

    @property
    def reads_padding(self) -> bool:
        """Whether nothing tells it which of what it is given is padding."""
        return MASK not in self._session.inputs

    def forward(self, attention_mask: torch.Tensor | None = None, **inputs: Any) -> BaseModelOutput:
        """One pass. `attention_mask`: of text, (rows, length). `inputs`: the source, by its name."""
        source = inputs[self.main_input_name]
        if attention_mask is None:
            attention_mask = torch.ones(source.shape[:2], dtype=torch.int64)
        outputs = run(self._session, {self.main_input_name: source, MASK: attention_mask}, ["last_hidden_state"])
        return BaseModelOutput(last_hidden_state=outputs["last_hidden_state"])


class DecoderGraph:
    """One of the graphs that write. `begins`, `goes_on`: whether it can do so without a cache, and with one."""

    def __init__(self, session: Session, file: Path) -> None:
        """Raises ModelRefused for a graph that wants what is not known here."""
        self._session = session
        self._past = tuple(name for name in session.inputs if name.startswith(f"{PAST}."))
        self._present = tuple(name for name in session.outputs if name.startswith("present."))
        known = {*self._past, IDS, STATES, SOURCE_MASK, POSITIONS, PLACES, BRANCH}
        unknown = [name for name in session.inputs if name not in known]
        if unknown or "logits" not in session.outputs or not self._present:
            what = f"has the inputs {', '.join(unknown)}" if unknown else "keeps no cache of keys and values"
            raise ModelRefused(
                f"{file.name} {what}, so that it cannot generate here. Take the original weights.",
                path=str(file.parent),
            )

    def run(
        self, ids: torch.Tensor, states: torch.Tensor, mask: torch.Tensor | None, cache: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The logits for the tokens `ids`, (rows, new), and the cache with them in it, by the graph's names without
        what they begin with. `states`: the encoder's. `mask`: of the source. `cache`: empty before the first tokens.
        """
        rows, new = ids.shape
        before = next((part.shape[2] for name, part in cache.items() if OF_SOURCE not in name), 0)
        places = torch.arange(before, before + new)
        past = {name: cache.get(name.removeprefix(f"{PAST}.")) for name in self._past}
        given = {
            IDS: ids,
            STATES: states,
            SOURCE_MASK: torch.ones(states.shape[:2], dtype=torch.int64) if mask is None else mask,
            POSITIONS: places.expand(rows, -1),
            PLACES: places,
            BRANCH: torch.tensor([bool(cache)]),
            **{name: self._nothing(name, rows) if part is None else part for name, part in past.items()},
        }
        # A merged graph that has a cache gives nothing for the source's part of it, which stays as it was.
        wanted = [name for name in self._present if not (cache and OF_SOURCE in name)]
        outputs = run(self._session, given, ["logits", *wanted])
        kept = {name: part for name, part in cache.items() if OF_SOURCE in name}
        return outputs["logits"], kept | {name.removeprefix("present."): outputs[name] for name in wanted}

    @property
    def kept(self) -> tuple[list[str], list[str]]:
        """What is kept between tokens: of the text, and of the source; by layer, each layer's keys first."""
        names = sorted((name.removeprefix("present.") for name in self._present), key=by_layer)
        return [each for each in names if OF_SOURCE not in each], [each for each in names if OF_SOURCE in each]

    def _nothing(self, name: str, rows: int) -> torch.Tensor:
        return torch.empty(shape_of_nothing(self._session.shapes[name], rows))


def by_layer(name: str) -> tuple[int, str]:
    """Sorts such names as `10.decoder.key`."""
    layer, _, part = name.partition(".")
    return int(layer), part


def run(session: Session, given: Mapping[str, torch.Tensor], wanted: Sequence[str]) -> dict[str, torch.Tensor]:
    """Those of the graph's outputs, floats in 32 bits but the cache, which stays in its own."""
    arrays = {name: prepare(given[name].numpy(), session.types[name]) for name in session.inputs}
    outputs: Sequence[Array] = session.run(arrays, wanted)
    tensors = {name: torch.from_numpy(array) for name, array in zip(wanted, outputs, strict=True)}
    return {name: each if name.startswith("present.") else each.float() for name, each in tensors.items()}


class Seq2SeqGraph(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """An encoder-decoder without weights: `forward` runs the graphs."""

    _supports_cache_class = True

    def __init__(self, config: Any, encoder: EncoderGraph, first: DecoderGraph, later: DecoderGraph) -> None:
        """`first` begins a text, `later` goes on with it; a merged graph is both."""
        super().__init__(config)
        self._encoder = encoder
        self._first, self._later, self._kept = first, later, first.kept
        self.main_input_name = encoder.main_input_name

    @property
    def reads_padding(self) -> bool:
        """Whether rows of several lengths must not be read together."""
        return self._encoder.reads_padding

    @property
    def device(self) -> torch.device:
        """Where its inputs have to be."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """What its inputs are made of; the graphs take them in types of their own."""
        return torch.float32

    def get_encoder(self, modality: str | None = None) -> EncoderGraph:
        """The part that reads."""
        return self._encoder

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        input_values: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """One step. The source, or `encoder_outputs` of it; `decoder_input_ids`: (rows, new tokens).

        Returns logits, (rows, new tokens, vocabulary), and the cache with the new tokens in it.
        """
        if encoder_outputs is None:
            sources = zip(SOURCES, (input_ids, input_features, input_values, pixel_values), strict=True)
            encoder_outputs = self._encoder(attention_mask, **dict(sources))
        before = {} if past_key_values is None else self._read(past_key_values)
        graph = self._later if before else self._first
        logits, cache = graph.run(decoder_input_ids, encoder_outputs.last_hidden_state, attention_mask, before)
        return Seq2SeqLMOutput(
            logits=logits,
            past_key_values=self._write(cache) if use_cache is not False else None,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
        )

    def _read(self, cache: EncoderDecoderCache) -> dict[str, torch.Tensor]:
        """What the library's cache holds, by the graph's names; nothing before the first step."""
        parts = (cache.self_attention_cache, cache.cross_attention_cache)
        arrays = [[each for layer in filled(part) for each in (layer.keys, layer.values)] for part in parts]
        if not any(arrays):
            return {}
        pairs = [zip(names, own, strict=True) for names, own in zip(self._kept, arrays, strict=True)]
        return dict([*pairs[0], *pairs[1]])

    def _write(self, cache: Mapping[str, torch.Tensor]) -> EncoderDecoderCache:
        """The library's cache around what the graphs gave."""
        return EncoderDecoderCache(*(to_cache([cache[name] for name in names]) for names in self._kept))
