"""Models held by transformers on torch: loading a folder, one pass, generation step by step, postprocessing.

Owns the device, the dtype, and the merge of a request's generation settings with the model's own. Speaks numpy and
plain lists outwards. Not thread-safe: one thread at a time may call a model.
"""

from __future__ import annotations

import copy
import inspect
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from transformers.models.auto import modeling_auto

from modelyard.errors import BootFailed, InferenceFailed, InvalidRequest, ModelRefused
from modelyard.tasks.base import Head
from modelyard.tasks.model import Array, OnTokens
from modelyard.worker.limits import says_out_of_memory
from modelyard.worker.runtimes.processors import (
    TEXT_HEADS,
    ensure_tokenizer_pads,
    find_processor,
    first_line,
    has_tokenizer,
    quiet_library,
)
from modelyard.worker.runtimes.stepping import MinimumLengths, Rows, trim
from modelyard.worker.runtimes.whisper import find_generate, time_mark_rules

log = logging.getLogger(__name__)

_HEADS: dict[Head, Any] = {
    "base": modeling_auto.MODEL_MAPPING,
    "causal-lm": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
    "seq2seq-lm": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    "masked-lm": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING,
    "sequence-classification": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    "token-classification": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    "question-answering": modeling_auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    "image-classification": modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    "object-detection": modeling_auto.MODEL_FOR_OBJECT_DETECTION_MAPPING,
    "image-segmentation": modeling_auto.MODEL_FOR_IMAGE_SEGMENTATION_MAPPING,
    "semantic-segmentation": modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING,
    "instance-segmentation": modeling_auto.MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING,
    "universal-segmentation": modeling_auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING,
    "depth-estimation": modeling_auto.MODEL_FOR_DEPTH_ESTIMATION_MAPPING,
    "mask-generation": modeling_auto.MODEL_FOR_MASK_GENERATION_MAPPING,
    "zero-shot-image-classification": modeling_auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING,
    "zero-shot-object-detection": modeling_auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING,
    "image-text-to-text": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    "multimodal-lm": modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING,
    "vision-encoder-decoder": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    "visual-question-answering": modeling_auto.MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING,
    "document-question-answering": modeling_auto.MODEL_FOR_DOCUMENT_QUESTION_ANSWERING_MAPPING,
    "ctc": modeling_auto.MODEL_FOR_CTC_MAPPING,
    "speech-seq2seq": modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
    "audio-classification": modeling_auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
    "video-classification": modeling_auto.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING,
    "text-to-waveform": modeling_auto.MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING,
    "text-to-spectrogram": modeling_auto.MODEL_FOR_TEXT_TO_SPECTROGRAM_MAPPING,
}
"""Head → the library's table from config class to model class. Looking a class up imports that architecture only."""

_REMOTE_CLASSES: dict[Head, str] = {
    "base": "AutoModel",
    "causal-lm": "AutoModelForCausalLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "masked-lm": "AutoModelForMaskedLM",
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "image-classification": "AutoModelForImageClassification",
    "object-detection": "AutoModelForObjectDetection",
    "image-segmentation": "AutoModelForImageSegmentation",
    "semantic-segmentation": "AutoModelForSemanticSegmentation",
    "instance-segmentation": "AutoModelForInstanceSegmentation",
    "universal-segmentation": "AutoModelForUniversalSegmentation",
    "depth-estimation": "AutoModelForDepthEstimation",
    "mask-generation": "AutoModelForMaskGeneration",
    "zero-shot-image-classification": "AutoModelForZeroShotImageClassification",
    "zero-shot-object-detection": "AutoModelForZeroShotObjectDetection",
    "image-text-to-text": "AutoModelForImageTextToText",
    "multimodal-lm": "AutoModelForMultimodalLM",
    "vision-encoder-decoder": "AutoModelForImageTextToText",
    "visual-question-answering": "AutoModelForVisualQuestionAnswering",
    "document-question-answering": "AutoModelForDocumentQuestionAnswering",
    "ctc": "AutoModelForCTC",
    "speech-seq2seq": "AutoModelForSpeechSeq2Seq",
    "audio-classification": "AutoModelForAudioClassification",
    "video-classification": "AutoModelForVideoClassification",
    "text-to-waveform": "AutoModelForTextToWaveform",
    "text-to-spectrogram": "AutoModelForTextToSpectrogram",
}
"""Head → the name under which a repository's own code (`auto_map`) registers a class for it."""

_IMAGE_HEADS: frozenset[Head] = frozenset(
    {
        "image-classification", "object-detection", "image-segmentation", "semantic-segmentation",
        "instance-segmentation", "universal-segmentation", "depth-estimation", "mask-generation",
        "zero-shot-image-classification", "zero-shot-object-detection",
    }
)  # fmt: skip
"""Heads that cannot do without the folder's image processor."""

DEFAULT_NEW_TOKENS = 256
"""Tokens made when a request gives no length, and the model's own files give none either."""

_UNSET_LENGTHS = {"max_length": None, "max_new_tokens": None, "min_length": None, "min_new_tokens": None}


def load_model(
    path: Path,
    heads: tuple[Head, ...],
    *,
    device: str = "auto",
    remote_code: bool = False,
    pickled: bool = False,
) -> TransformersModel:
    """The model in the folder `path`, in eval mode on `device`, under the first of `heads` that fits it.

    Reads local files only, and weights from safetensors only unless `pickled`: a pickle could run anything. On CUDA
    the weights keep their stored dtype. On the CPU they become float32: float16 has hardly any CPU kernels, bfloat16
    is emulated on most machines, and a request should get the same answer on every node.

    Raises: ModelRefused when the files cannot be served, BootFailed when loading failed.
    """
    where = choose_device(device)
    try:
        with quiet_library():
            config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=remote_code)
            head, kind = choose_class(config, heads, remote_code=remote_code)
            processor = None if head in TEXT_HEADS else find_processor(path, config, remote_code=remote_code)
            if processor is None and head in _IMAGE_HEADS:
                raise ModelRefused(
                    f"{path.name} has no preprocessor_config.json, so nothing says how it wants images scaled.",
                    path=str(path),
                )
            tokenizer = None
            if processor is None or has_tokenizer(path):
                tokenizer = AutoTokenizer.from_pretrained(
                    path, config=config, local_files_only=True, trust_remote_code=remote_code
                )
            model, info = kind.from_pretrained(
                path,
                config=config,
                dtype="auto" if where.type == "cuda" else torch.float32,
                local_files_only=True,
                use_safetensors=not pickled,
                output_loading_info=True,
                **({"trust_remote_code": True} if remote_code else {}),
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise BootFailed(f"The model does not fit into the memory of {where}: {first_line(error)}") from error
        raise ModelRefused(f"{path.name} cannot be loaded: {first_line(error)}", path=str(path)) from error
    refuse_missing_weights(head, info["missing_keys"])
    if head == "base" and tokenizer is not None and config.is_encoder_decoder:
        model = model.get_encoder()
    if tokenizer is not None:
        ensure_pad_token(tokenizer, model)
    untrained = frozenset({"pooler_output"}) if any("pooler" in key for key in info["missing_keys"]) else frozenset()
    return TransformersModel(path, model.eval().to(where), tokenizer, processor, untrained)


def choose_device(device: str) -> torch.device:
    """The device to load onto; `auto` is CUDA where there is one. Raises BootFailed."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BootFailed(f"Device {device} was asked for, but this machine offers no CUDA. Use auto or cpu.")
    return torch.device(device)


def choose_class(config: Any, heads: Sequence[Head], *, remote_code: bool) -> tuple[Head, Any]:
    """The head to load and its class: the one the model was saved with if it is among `heads`, else the first known.

    Raises ModelRefused when the architecture has none of them.
    """
    auto_map = getattr(config, "auto_map", None) or {}
    found: list[tuple[Head, Any]] = []
    for head in heads:
        name = _REMOTE_CLASSES[head]
        if remote_code and name in auto_map:
            found.append((head, getattr(modeling_auto, name)))
        elif type(config) in _HEADS[head]:
            kind = _HEADS[head][type(config)]
            found.append((head, kind[0] if isinstance(kind, tuple) else kind))
    if not found:
        raise ModelRefused(f"{config.model_type} models offer none of: {', '.join(heads)}.")
    saved = set(config.architectures or ())
    return next((pair for pair in found if pair[1].__name__ in saved), found[0])


def refuse_missing_weights(head: Head, missing: Sequence[str]) -> None:
    """Raises ModelRefused when the folder lacks weights that the answer depends on: the library fills in noise.

    A bare encoder's pooler is not used by any task, and many checkpoints come without one.
    """
    needed = sorted(key for key in missing if not (head == "base" and "pooler" in key))
    if needed:
        raise ModelRefused(
            f"The model's files hold no weights for {', '.join(needed[:3])}{' and others' if needed[3:] else ''}: "
            f"it was not trained for {head}. Choose a model of this task.",
            missing=needed,
        )


def ensure_pad_token(tokenizer: Any, model: Any) -> None:
    """Gives both a padding token. Which one does not matter, as padding is always masked, but it has to exist."""
    ensure_tokenizer_pads(tokenizer)
    if model.config.get_text_config().pad_token_id is None:
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id


class TransformersModel:
    """One model on torch; see `tasks.model.Model`."""

    def __init__(
        self, path: Path, model: Any, tokenizer: Any, processor: Any = None, untrained: frozenset[str] = frozenset()
    ) -> None:
        """`model` is in eval mode and on its device. `untrained`: outputs that its files hold no weights for."""
        self.path = path
        self.tokenizer = tokenizer
        self.processor = processor
        self.config: Mapping[str, Any] = model.config.to_dict()
        labels = getattr(model.config, "id2label", None) or {}
        self.labels: Mapping[int, str] = {int(index): label for index, label in labels.items()}
        self.max_length = find_max_length(model, tokenizer)
        self._window = find_positions(model)
        self.device: torch.device = model.device
        self._model = model
        self._untrained = untrained
        self._seq2seq = bool(model.config.is_encoder_decoder)
        self._accepted: dict[str, frozenset[str]] = {}
        self._defaults = take_generation_defaults(model)

    @property
    def module(self) -> Any:
        """The library's model, for those who export it."""
        return self._model

    def forward(self, inputs: Mapping[str, Array], *, method: str = "forward", **settings: Any) -> Mapping[str, Any]:
        """See `tasks.model.Model.forward`."""
        accepted = self._arguments(method)
        arguments: dict[str, Any] = {name: self._tensor(array) for name, array in inputs.items() if name in accepted}
        if "use_cache" in accepted:
            arguments["use_cache"] = False
        if method == "forward":
            settings["return_dict"] = True
        run = self._model if method == "forward" else getattr(self._model, method)
        with foreign_errors(inputs), torch.inference_mode():
            outputs = to_plain(run(**arguments, **settings))
        if not isinstance(outputs, dict):
            return {"output": outputs}
        return {name: value for name, value in outputs.items() if name not in self._untrained}

    def postprocess(self, method: str, outputs: Any, *more: Any, **options: Any) -> Any:
        """See `tasks.model.Model.postprocess`. Runs on the CPU."""
        run = getattr(self._postprocessor(method), method)
        given = {"outputs": outputs} if not isinstance(outputs, Mapping) else outputs
        with foreign_errors(given), torch.inference_mode():
            return to_plain(run(*to_tensors([outputs, *more]), **dict(to_tensors(options))))

    def can_postprocess(self, method: str) -> bool:
        """See `tasks.model.Model.can_postprocess`."""
        return self._postprocessor(method) is not None

    def _postprocessor(self, method: str) -> Any:
        """The processor, or the part of it, that has `method`; None when nothing has."""
        parts = (self.processor, getattr(self.processor, "image_processor", None))
        return next((part for part in parts if hasattr(part, method)), None)

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
    ) -> Sequence[Sequence[Sequence[int]]]:
        """See `tasks.model.Model.generate`.

        Rows run together when each gets what it would get alone. They run one after the other where the batch would
        show in the answer: seeded sampling, and settings that read the prompt (padding would count as prompt).
        """
        config, seed = self._resolve(options)
        lengths = prompt_lengths(inputs)
        answers: list[Sequence[Sequence[int]]] = [()] * len(lengths)
        for rows in groups(lengths, config, seeded=seed is not None, seq2seq=self._seq2seq, window=self._window):
            with foreign_errors(inputs), torch.inference_mode():
                for row, answer in zip(rows, self._generate(inputs, rows, config, seed, on_tokens), strict=True):
                    answers[row] = answer
        return answers

    def _resolve(self, options: Mapping[str, Any]) -> tuple[Any, int | None]:
        """The request's settings over the model's own, and the seed. Raises InvalidRequest."""
        settings = dict(options)
        seed, extra_ends = settings.pop("seed", None), settings.pop("stop_token_ids", ())
        config = copy.deepcopy(self._defaults)
        for limits in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            if settings.keys() & set(limits):
                vars(config).update(dict.fromkeys(limits))
        vars(config).update(settings)
        vars(config).update(eos_token_id=sorted({*as_list(config.eos_token_id), *extra_ends}) or None)
        if config.pad_token_id is None and self.tokenizer is not None:
            config.pad_token_id = self.tokenizer.pad_token_id
        drop_unused(config)
        check_sequences(config)
        try:
            config.validate(user_set_attributes=set())
        except ValueError as error:
            raise InvalidRequest(f"params: {first_line(error)}", field="params") from error
        return config, seed if config.do_sample else None

    def _generate(
        self, inputs: Mapping[str, Array], rows: Sequence[int], config: Any, seed: int | None, on_tokens: OnTokens
    ) -> Sequence[Sequence[Sequence[int]]]:
        """Generates for `rows`, which fit into one batch of the library."""
        tensors = {name: self._tensor(cut_padding(inputs, name, rows)) for name in inputs}
        if self._seq2seq:
            prompts = [tensors["decoder_input_ids"].shape[1] if "decoder_input_ids" in tensors else 1] * len(rows)
        else:
            prompts = prompt_lengths(inputs)[list(rows)].tolist()
        longest = [new_token_limit(config, prompt, self._window) for prompt in prompts]
        shortest = [new_token_minimum(config, prompt, self._window) for prompt in prompts]
        ends = config.eos_token_id or []
        config = copy.deepcopy(config)
        vars(config).update(_UNSET_LENGTHS, max_new_tokens=max(longest))
        stepper = Rows(
            rows, longest, ends, on_tokens, sequences=max(config.num_beams or 1, config.num_return_sequences or 1)
        )
        if config.do_sample:
            # Every call seeds: replicas forked from one process would otherwise all draw the same numbers.
            torch.manual_seed(secrets.randbits(63) if seed is None else seed)
        rules = [MinimumLengths(shortest, ends)] if ends and any(shortest) else []
        sequences = find_generate(self._model)(
            **tensors,
            generation_config=config,
            stopping_criteria=[stepper],
            logits_processor=[*rules, *time_mark_rules(config, prompts[0])] or None,
        )
        if stepper.steps_rows:
            return [[tokens] for tokens in stepper.tokens]
        return trim(sequences[:, stepper.prompt_width :].tolist(), len(rows), ends, config.pad_token_id)

    def _tensor(self, array: Array) -> torch.Tensor:
        """The array on the device; floating point in the weights' own type."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self.device, self._model.dtype if tensor.is_floating_point() else None)


def find_positions(model: Any) -> int | None:
    """How many tokens the architecture has positions for; None when it has no such limit (T5, ALiBi)."""
    for name, module in model.named_modules():
        # RoBERTa and its kin start counting positions after the padding index, so some of the table is never used.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.num_embeddings) - int(module.padding_idx) - 1
    text = model.config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None) or getattr(text, "max_target_positions", None)
    return positions if isinstance(positions, int) and positions > 0 else None


def find_max_length(model: Any, tokenizer: Any) -> int | None:
    """The longest input in tokens. A tokenizer may ask for less than the positions allow; decoders do not care."""
    positions = find_positions(model)
    decoder_only = model.can_generate() and not model.config.is_encoder_decoder
    if tokenizer is None:
        return None
    stated = tokenizer.model_max_length if tokenizer.model_max_length < _NO_LIMIT else None
    if positions is None or stated is None or decoder_only:
        return positions or stated
    return min(positions, int(stated))


_NO_LIMIT = 10**9
"""Tokenizers without a stated limit carry 10**30."""


def take_generation_defaults(model: Any) -> Any:
    """The model's generation settings, which it gives up: `_resolve` alone decides what a request runs with.

    A causal model's stored total length is dropped, as it is most often the library's old default of 20; an
    encoder-decoder's is kept, as it was chosen for the task it was trained on.
    """
    defaults = getattr(model, "generation_config", None)
    if defaults is None:
        return GenerationConfig()
    model.generation_config = GenerationConfig()
    if not model.config.is_encoder_decoder:
        defaults.max_length = defaults.min_length = None
    return defaults


def drop_unused(config: Any) -> None:
    """Unsets what the chosen way of decoding does not read; the library would warn about each of them."""
    unused: tuple[str, ...] = ()
    if not config.do_sample:
        unused += ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
    if (config.num_beams or 1) == 1:
        unused += ("early_stopping", "length_penalty")
    vars(config).update(dict.fromkeys(unused))


def check_sequences(config: Any) -> None:
    """Raises InvalidRequest when more sequences are asked for than this way of decoding has."""
    wanted, beams = config.num_return_sequences or 1, config.num_beams or 1
    if wanted > beams and (beams > 1 or not config.do_sample):
        raise InvalidRequest(
            field="params.num_return_sequences",
            got=wanted,
            accepted="1 without sampling, up to num_beams with beams; set do_sample to true for more",
        )


def groups(lengths: Array, config: Any, *, seeded: bool, seq2seq: bool, window: int | None) -> list[list[int]]:
    """Splits a batch into batches in which every row is generated as it would be alone.

    `lengths`: (rows,) tokens in each prompt; `window`: most tokens of prompt and answer together, when limited.
    """
    rows = range(len(lengths))
    if seeded:
        return [[row] for row in rows]
    by_length: dict[int, list[int]] = {}
    together: list[int] = []
    reads_prompt = any(
        getattr(config, name) not in (None, neutral)
        for name, neutral in _READS_PROMPT
        if not seq2seq or "encoder" in name
    )
    most = max((new_token_limit(config, int(length), window) for length in lengths), default=0)
    for row in rows:
        length = int(lengths[row])
        # A row that ends early is still carried along; past the window its positions would not exist.
        overflows = not seq2seq and window is not None and length + most > window
        (by_length.setdefault(length, []) if reads_prompt or overflows else together).append(row)
    return [group for group in (together, *by_length.values()) if group]


_READS_PROMPT: tuple[tuple[str, Any], ...] = (
    ("repetition_penalty", 1.0),
    ("no_repeat_ngram_size", 0),
    ("encoder_repetition_penalty", 1.0),
    ("encoder_no_repeat_ngram_size", 0),
    ("forced_eos_token_id", None),
)
"""Settings that depend on the prompt's tokens or their number, with the value that switches each off."""


def new_token_limit(config: Any, prompt: int, window: int | None) -> int:
    """Most tokens to make after a prompt of `prompt` tokens, at least 1."""
    if config.max_new_tokens is not None:
        limit = config.max_new_tokens
    elif config.max_length is not None:
        limit = config.max_length - prompt
    else:
        limit = DEFAULT_NEW_TOKENS
    return max(1, int(limit) if window is None else min(int(limit), window - prompt))


def new_token_minimum(config: Any, prompt: int, window: int | None) -> int:
    """Fewest tokens to make after a prompt of `prompt` tokens. A forced end needs the last place for itself."""
    least = (config.min_length or 0) - prompt if config.min_new_tokens is None else config.min_new_tokens
    most = new_token_limit(config, prompt, window)
    return max(0, min(int(least), most if config.forced_eos_token_id is None else most - 1))


def prompt_lengths(inputs: Mapping[str, Array]) -> Array:
    """Tokens in each row's prompt: (rows,). A row without a prompt counts as one token, the one it starts from."""
    if "attention_mask" in inputs:
        lengths: Array = inputs["attention_mask"].sum(axis=1)
        return lengths
    first = inputs["input_ids"] if "input_ids" in inputs else next(iter(inputs.values()))
    return np.full(len(first), first.shape[1] if "input_ids" in inputs else 1)


def cut_padding(inputs: Mapping[str, Array], name: str, rows: Sequence[int]) -> Array:
    """The array `name` for `rows` only; where it goes along with the tokens, without the columns that are padding in
    all of them. Raises ValueError for several rows of which each has no entry of its own."""
    array, count = inputs[name], len(prompt_lengths(inputs))
    if len(array) != count:
        if count == 1:
            return array
        raise ValueError(f"{name} has {len(array)} entries for {count} rows")
    mask = inputs.get("attention_mask")
    if mask is None or array.shape[:2] != mask.shape or array.ndim > 3:
        return array[list(rows)]
    return array[list(rows)][:, mask[list(rows)].any(axis=0)]


def as_list(value: int | Sequence[int] | None) -> list[int]:
    """A token id setting, which may be one id, several or none, as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)


def to_numpy(tensor: torch.Tensor) -> Array:
    """The tensor on the CPU; floating point as float32."""
    tensor = tensor.detach()
    array: Array = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
    return array


def to_plain(value: Any) -> Any:
    """`value` with every tensor in it as an array, names as dicts, tuples as lists; None in a mapping is left out."""
    if isinstance(value, torch.Tensor):
        return to_numpy(value)
    if isinstance(value, Mapping):
        return {name: to_plain(item) for name, item in value.items() if item is not None}
    return [to_plain(item) for item in value] if isinstance(value, list | tuple) else value


class Named(dict[str, Any]):
    """Outputs by name, as the library's processors read them: `outputs.logits` as well as `outputs["logits"]`.

    A name that is not there is None, as in the library's own outputs.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)


def to_tensors(value: Any) -> Any:
    """`value` with every array in it as a tensor on the CPU, and mappings as `Named`."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Mapping):
        return Named({name: to_tensors(item) for name, item in value.items()})
    return type(value)(to_tensors(item) for item in value) if isinstance(value, list | tuple) else value


@contextmanager
def foreign_errors(inputs: Mapping[str, Any]) -> Iterator[None]:
    """Turns what torch and the library raise into InferenceFailed; the traceback goes to the replica's log."""
    try:
        yield
    except (RuntimeError, IndexError, ValueError, KeyError, TypeError, MemoryError) as error:
        shape = describe_batch(inputs)
        if is_out_of_memory(error):
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            log.warning("out of memory on a batch of %s", shape)
            raise InferenceFailed(
                f"The model ran out of memory on a batch of {shape}. Send a shorter input, or less at once.",
                out_of_memory=True,
            ) from error
        log.exception("the model failed on a batch of %s", shape)
        raise InferenceFailed(f"The model failed on this input: {first_line(error)}") from error


def describe_batch(inputs: Mapping[str, Any]) -> str:
    """The batch's size, for messages: tokens when it has any, else its first array."""
    name = "input_ids" if "input_ids" in inputs else next(iter(inputs), "nothing")
    shape = " × ".join(str(size) for size in getattr(inputs.get(name), "shape", ()))
    return f"{shape} {'tokens' if name == 'input_ids' else name}".strip()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, a device's or the machine's."""
    return isinstance(error, torch.OutOfMemoryError) or says_out_of_memory(error)
