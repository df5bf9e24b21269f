"""Models held by transformers on torch: loading a folder, one pass, generation step by step, postprocessing.

Owns the model, its device and its dtype. Speaks numpy and plain lists outwards. Not thread-safe: one thread at a time
may call a model.
"""

from __future__ import annotations

import copy
import inspect
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# These three before the rest of the library.
import modelyard.worker.runtimes.listed_once
import modelyard.worker.runtimes.without_compiler
import modelyard.worker.runtimes.without_losses  # noqa: F401

import numpy as np  # isort: skip
import torch  # isort: skip
from transformers import AutoConfig, PreTrainedModel  # isort: skip
from transformers.modeling_outputs import BaseModelOutput  # isort: skip

from modelyard.errors import InferenceFailed, ModelRefused
from modelyard.records.precision import BF16, find_precision
from modelyard.tasks.base import Head
from modelyard.tasks.model import Array, Emitted, GeneratedTokens, OnTokens, Said
from modelyard.tasks.shared.generation_params import TextForm
from modelyard.tasks.shared.sentence_folder import read_modules
from modelyard.tasks.token_model import TokenModel
from modelyard.worker.runtimes.adapter_layers import AdapterLayers
from modelyard.worker.runtimes.detectors import add_detector, find_detector
from modelyard.worker.runtimes.device import Spread, choose_device, is_spread
from modelyard.worker.runtimes.failures import batch_errors, loading_errors
from modelyard.worker.runtimes.generation_batches import READS_PADDING, cut_padding, groups, prompt_lengths
from modelyard.worker.runtimes.generation_settings import (
    UNSET_LENGTHS,
    new_token_limit,
    new_token_minimum,
    resolve_settings,
    take_generation_defaults,
)
from modelyard.worker.runtimes.grammars import Grammars
from modelyard.worker.runtimes.heads import choose_class, refuse_missing_weights
from modelyard.worker.runtimes.lengths import find_max_length, find_positions
from modelyard.worker.runtimes.library_adapters import only_whole_adapters
from modelyard.worker.runtimes.library_logs import quiet_library
from modelyard.worker.runtimes.linear_products import LinearProducts
from modelyard.worker.runtimes.postprocessing import find_postprocessor, postprocess
from modelyard.worker.runtimes.processors import ensure_tokenizer_pads, load_parts
from modelyard.worker.runtimes.quantised_weights import find_quantisation, loading_arguments, settle_weights
from modelyard.worker.runtimes.speaking import Speech, find_whole_class, read_voices
from modelyard.worker.runtimes.stepping import MinimumLengths, Rows, occurrence_penalties, take_forbidden_tokens
from modelyard.worker.runtimes.tensors import to_numpy, to_plain
from modelyard.worker.runtimes.token_architectures import allows_rows
from modelyard.worker.runtimes.token_memory import plan_cache
from modelyard.worker.runtimes.token_rows import TokenRows
from modelyard.worker.runtimes.transducers import transduce
from modelyard.worker.runtimes.whisper import attend, find_generate, shows_attention, timestamp_rules

SAFETENSORS = ("model", ".safetensors")
"""How the library calls files of weights: (stem, ending)."""
WRITING_PART = "thinker_config"
"""Of the configs of models that write an answer with one part, and say it with others: of the former. The others are
loaded where there are voices."""


def load_model(
    path: Path,
    heads: tuple[Head, ...],
    *,
    device: str = "auto",
    remote_code: bool = False,
    precision: str | None = None,
    spread: Spread | None = None,
) -> TransformersModel:
    """The model in the folder `path`, in eval mode on `device`, under the first of `heads` that fits it.

    Reads local files only, and weights from safetensors only: a pickle could run anything. On CUDA
    the weights keep their stored dtype. On the CPU they become float32: float16 has hardly any CPU kernels, bfloat16
    is emulated on most machines, and a request should get the same answer on every node. `precision` BF16: that type
    all the same, on any device. `spread`: its layers lie on several devices; None: on `device`.

    Raises: ModelRefused when the files cannot be served, BootFailed when loading failed.
    """
    where = choose_device(device)
    files = find_model_folder(path)
    with loading_errors(path, str(where)), quiet_library():
        config = AutoConfig.from_pretrained(files, local_files_only=True, trust_remote_code=remote_code)
        writing = getattr(config, WRITING_PART, config)
        head, kind = choose_class(writing, heads, remote_code=remote_code)
        tokenizer, processor = load_parts(files, head, config, remote_code=remote_code)
        may_speak = writing is not config and spread is None and kind.can_generate()
        voices = read_voices(files, config) if may_speak else None
        more = {} if spread is None else spread_arguments(kind, writing, spread, precision)
        if voices:
            kind = find_whole_class(config)
        elif writing is not config:
            more["key_mapping"] = {"^thinker[.]": ""}
        loaded, config = (config if voices else writing), writing
        model, missing = load_weights(kind, files, loaded, where, remote_code=remote_code, precision=precision, **more)
        if head == "mask-generation" and (detector := find_detector(config)) is not None:
            more = {} if spread is None else spread_arguments(detector, config, spread, precision)
            part, lacking = load_weights(detector, files, config, where, precision=precision, **more)
            add_detector(model, part, config)
            missing = [*missing, *lacking]
    refuse_missing_weights(head, missing)
    if head == "base" and tokenizer is not None and config.is_encoder_decoder:
        encoder = model.get_encoder()
        model = encoder if isinstance(encoder, PreTrainedModel) else model  # FSMT's is a bare module
    if tokenizer is not None:
        ensure_pad_token(tokenizer, model)
    untrained = frozenset({"pooler_output"}) if any("pooler" in key for key in missing) else frozenset()
    model = model.eval()
    model = model if is_spread(model) else model.to(where)
    speech = None if voices is None else Speech(model if voices else None, voices)
    return TransformersModel(path, model.thinker if voices else model, tokenizer, processor, untrained, speech)


def find_model_folder(path: Path) -> Path:
    """The folder with the model's own files: `path`, or the first part of a sentence-transformers folder.

    Raises ModelRefused when that part lies elsewhere.
    """
    if (path / "config.json").exists() or not (path / "modules.json").exists():
        return path
    with loading_errors(path, "cpu"):
        part = (path / str(read_modules(path)[0]["path"])).resolve()
    if not part.is_relative_to(path.resolve()):
        raise ModelRefused(f"{path.name} is not complete: its modules.json names a folder outside of it.")
    return part


def spread_arguments(kind: Any, config: Any, spread: Spread, precision: str | None) -> dict[str, Any]:
    """What `load_weights` is to be told of a model that lies on several devices. Raises ModelRefused."""
    from modelyard.worker.runtimes.device_maps import plan_device_map  # its library takes a while to import

    dtype = torch.bfloat16 if precision == BF16 else getattr(config, "dtype", None) or torch.float32
    return {"device_map": plan_device_map(kind, config, spread, dtype)}


def load_weights(
    kind: Any,
    path: Path,
    config: Any,
    where: torch.device,
    *,
    remote_code: bool = False,
    precision: str | None = None,
    **more: Any,
) -> tuple[Any, Sequence[str]]:
    """A model of the class `kind` with the folder's weights, still on the CPU, and the weights that the files lack.

    In the type for the device `where`, or of `precision`. `more`: what the library is told besides, such as where its
    layers lie. Raises what the libraries raise.
    """
    method = find_quantisation(config)
    with only_whole_adapters(path):
        model, info = kind.from_pretrained(
            path,
            config=config,
            dtype=torch.bfloat16 if precision == BF16 else "auto" if where.type == "cuda" else torch.float32,
            local_files_only=True,
            use_safetensors=True,
            variant=find_precision((file.name for file in path.iterdir()), *SAFETENSORS),
            output_loading_info=True,
            **loading_arguments(method, where),
            **more,
            **({"trust_remote_code": True} if remote_code else {}),
        )
    settle_weights(model, method, where)
    return model, info["missing_keys"]


def ensure_pad_token(tokenizer: Any, model: Any) -> None:
    """Gives both a padding token. Which one does not matter, as padding is always masked, but it has to exist."""
    ensure_tokenizer_pads(tokenizer)
    config = model.config.get_text_config()
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = tokenizer.pad_token_id


class TransformersModel:
    """One model on torch; see `tasks.model.Model`."""

    def __init__(
        self,
        path: Path,
        model: Any,
        tokenizer: Any,
        processor: Any = None,
        untrained: frozenset[str] = frozenset(),
        speech: Speech | None = None,
    ) -> None:
        """`model` is in eval mode and on its device. `untrained`: outputs that its files hold no weights for.
        `speech`: what says its answers; None: it has no such part."""
        self.path = path
        self.speech = speech
        self.tokenizer = tokenizer
        self.processor = processor
        self.config: Mapping[str, Any] = model.config.to_dict()
        labels = getattr(model.config, "id2label", None) or {}
        self.labels: Mapping[int, str] = {int(index): label for index, label in labels.items()}
        self.max_length = find_max_length(model, tokenizer)
        self._window = find_positions(model)
        self.device: torch.device = model.device
        self.adapters = AdapterLayers(model)
        self._model = model
        self._products = LinearProducts(model)
        self._untrained = untrained
        self._seq2seq = bool(model.config.is_encoder_decoder)
        kind = self.config.get("model_type")
        self._reads_padding = kind in READS_PADDING or getattr(model, "reads_padding", False)
        self._accepted: dict[str, frozenset[str]] = {}
        self._defaults = take_generation_defaults(model)
        self._grammars = Grammars(tokenizer, getattr(model.config.get_text_config(), "vocab_size", 0))

    @property
    def module(self) -> Any:
        """The library's model, for those who export it."""
        return self._model

    def forward(self, inputs: Mapping[str, Any], *, method: str = "forward", **settings: Any) -> Mapping[str, Any]:
        """See `tasks.model.Model.forward`."""
        accepted = self._arguments(method)
        arguments = self._tensors({name: given for name, given in inputs.items() if name in accepted})
        if "use_cache" in accepted:
            arguments["use_cache"] = False
        if "bbox" in accepted and "bbox" not in arguments and "input_ids" in arguments:
            # Words of which nobody said where they are: as LayoutLM assumes it, and BROS does not.
            arguments["bbox"] = arguments["input_ids"].new_zeros((*arguments["input_ids"].shape, 4))
        if method == "forward":
            settings["return_dict"] = True
        run = self._model if method == "forward" else getattr(self._model, method)
        with self._computing(inputs):
            outputs = to_plain(run(**arguments, **settings))
        if not isinstance(outputs, dict):
            return {"output": outputs}
        return {name: value for name, value in outputs.items() if name not in self._untrained}

    def postprocess(self, method: str, outputs: Any, *more: Any, **options: Any) -> Any:
        """See `tasks.model.Model.postprocess`."""
        return postprocess(self.processor, method, outputs, more, options)

    def can_postprocess(self, method: str) -> bool:
        """See `tasks.model.Model.can_postprocess`."""
        return find_postprocessor(self.processor, method) is not None

    def _arguments(self, method: str) -> frozenset[str]:
        """The names that one of the model's passes takes."""
        if method not in self._accepted:
            run = getattr(self._model, method, None)
            if run is None:
                raise InferenceFailed(f"{self.config['model_type']} models have no {method}, which this task needs.")
            run = run.forward if isinstance(run, torch.nn.Module) else run
            self._accepted[method] = frozenset(inspect.signature(run).parameters)
        return self._accepted[method]

    def generate(
        self, inputs: Mapping[str, Array], options: Mapping[str, Any], on_tokens: OnTokens
    ) -> Sequence[Sequence[GeneratedTokens]]:
        """See `tasks.model.Model.generate`.

        Rows run together when each gets what it would get alone. They run one after the other where the batch would
        show in the answer: seeded sampling, forms, and settings that read the prompt (padding would count as prompt).
        """
        return self._write(inputs, options, on_tokens, find_generate(self._model))

    @property
    def voices(self) -> Sequence[str] | None:
        """See `tasks.model.HasVoices`."""
        return None if self.speech is None else self.speech.voices

    def speak(self, inputs: Mapping[str, Array], options: Mapping[str, Any], voice: str, on_tokens: OnTokens) -> Said:
        """See `tasks.model.HasVoices`."""
        if self.speech is None or voice not in self.speech.voices:
            raise InferenceFailed(f"This model has no voice {voice}.")
        saying = self.speech.open(voice, options.get("seed"), on_tokens)
        ((made,),) = self._write(inputs, options, on_tokens, saying.generate)
        return Said(made, saying.sound, self.speech.rate)

    def _write(
        self,
        inputs: Mapping[str, Array],
        options: Mapping[str, Any],
        on_tokens: OnTokens,
        generate: Callable[..., Any],
    ) -> Sequence[Sequence[GeneratedTokens]]:
        """`generate` for all rows, by the library's function `generate`."""
        pad_token_id = None if self.tokenizer is None else self.tokenizer.pad_token_id
        config, seed = resolve_settings(self._defaults, options, pad_token_id)
        lengths = prompt_lengths(inputs)
        answers: list[Sequence[GeneratedTokens]] = [()] * len(lengths)
        form = options.get("form")
        for rows in groups(
            lengths,
            config,
            seeded=seed is not None or form is not None,
            seq2seq=self._seq2seq,
            window=self._window,
            reads_padding=self._reads_padding,
        ):
            with self._computing(inputs):
                made = self._generate(inputs, rows, config, seed, form, on_tokens, generate)
                for row, answer in zip(rows, made, strict=True):
                    answers[row] = answer
        return answers

    def encode(self, inputs: Mapping[str, Array]) -> Array:
        """See `tasks.model.EncoderDecoder`."""
        tensors = self._tensors(inputs)
        with self._computing(inputs):
            return to_numpy(self._model.get_encoder()(**tensors).last_hidden_state)

    @property
    def shows_attention(self) -> bool:
        """See `tasks.model.EncoderDecoder`."""
        return shows_attention(self._model)

    def attend(self, inputs: Mapping[str, Array], heads: Sequence[tuple[int, int]]) -> Array:
        """See `tasks.model.EncoderDecoder`."""
        tensors = self._tensors(inputs)
        with self._computing(inputs):
            return to_numpy(attend(self._model, tensors, heads))

    def transduce(
        self, inputs: Mapping[str, Array], settings: Mapping[str, Any], cancelled: Callable[[int], bool]
    ) -> Sequence[Emitted]:
        """See `tasks.model.HasTransducer`."""
        tensors = self._tensors(inputs)
        with self._computing(inputs):
            return transduce(self._model, self._defaults, {**tensors, **settings}, cancelled)

    def find_token_model(self, reserved_bytes: int | None = None) -> TokenModel | None:
        """See `tasks.token_model.HasTokenModel`."""
        if not allows_rows(self._model) or is_spread(self._model):
            return None
        padding = None if self.tokenizer is None else self.tokenizer.pad_token_id
        weight_bytes = sum(each.nbytes for each in (*self._model.parameters(), *self._model.buffers()))
        room = plan_cache(self.device, weight_bytes, reserved_bytes)
        return TokenRows(
            self._model,
            self._defaults,
            padding,
            self._window,
            room.cache_bytes,
            self._grammars,
            keeps=room.keeps,
            products=self._products,
        )

    def _generate(
        self,
        inputs: Mapping[str, Array],
        rows: Sequence[int],
        config: Any,
        seed: int | None,
        form: TextForm | None,
        on_tokens: OnTokens,
        generate: Callable[..., Any],
    ) -> Sequence[Sequence[GeneratedTokens]]:
        """Generates for `rows`, which fit into one batch of the library."""
        tensors = self._tensors({name: cut_padding(inputs, name, rows) for name in inputs})
        if self._seq2seq:
            prompts = [tensors["decoder_input_ids"].shape[1] if "decoder_input_ids" in tensors else 1] * len(rows)
        else:
            prompts = prompt_lengths(inputs)[list(rows)].tolist()
        places = self._count_places(tensors)
        longest = [new_token_limit(config, prompt, places) for prompt in prompts]
        shortest = [new_token_minimum(config, prompt, places) for prompt in prompts]
        ends = config.eos_token_id or []
        config = copy.deepcopy(config)
        vars(config).update(UNSET_LENGTHS, max_new_tokens=max(longest))
        stepper = Rows(
            rows,
            longest,
            ends,
            on_tokens,
            sequences=max(config.num_beams or 1, config.num_return_sequences or 1),
            forces_end=config.forced_eos_token_id is not None,
        )
        if config.do_sample:
            # Every call seeds: replicas forked from one process would otherwise all draw the same numbers.
            torch.manual_seed(secrets.randbits(63) if seed is None else seed)
        rules: list[Any] = take_forbidden_tokens(config)
        rules += [MinimumLengths(shortest, ends)] if ends and any(shortest) else []
        rules += occurrence_penalties(config)
        if form is not None:
            prompt = [] if self._seq2seq else tensors["input_ids"][0].tolist()
            rules.append(self._grammars.open(form, frozenset(ends), prompt))
        sequences = generate(
            **tensors,
            generation_config=config,
            stopping_criteria=[stepper],
            logits_processor=[*rules, *timestamp_rules(config, prompts[0])] or None,
        )
        if stepper.steps_rows:
            return stepper.take_rows()
        return stepper.take_sequences(sequences[:, stepper.prompt_width :].tolist(), config.pad_token_id)

    @contextmanager
    def _computing(self, inputs: Mapping[str, Any]) -> Iterator[None]:
        """Every pass of the model on `inputs` runs in this block: without gradients, by the quicker products. What the
        library raises becomes InferenceFailed."""
        with batch_errors(inputs), torch.inference_mode(), self._products.in_use():
            yield

    def _count_places(self, tensors: Mapping[str, Any]) -> int | None:
        """Most tokens of prompt and answer together, when limited: by the context, or where the model hears a piece of
        a sound with each token, by how many pieces there are."""
        frames = self.config.get("audio_length_per_tok")
        if frames is None or "input_features" not in tensors:
            return self._window
        pieces: int = -(-tensors["input_features"].shape[-1] // int(frames))
        return pieces

    def _tensors(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays, and those in lists, on the device, `encoder_outputs` in the shape that the library's encoders
        give."""
        tensors: dict[str, Any] = {
            name: [self._tensor(each) for each in given] if isinstance(given, list) else self._tensor(given)
            for name, given in inputs.items()
        }
        if "encoder_outputs" in tensors:
            tensors["encoder_outputs"] = BaseModelOutput(last_hidden_state=tensors["encoder_outputs"])
        return tensors

    def _tensor(self, array: Array) -> torch.Tensor:
        """The array on the device; floating point in the weights' own type."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self.device, self._model.dtype if tensor.is_floating_point() else None)
