"""The library called directly, task by task, in the shape of our answer."""

from __future__ import annotations

import inspect
import io
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import transformers
from PIL import Image
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_KEYPOINT_MATCHING_MAPPING_NAMES,
    MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES,
)

from modelyard.catalog.inspection import inspect_folder
from modelyard.tasks.registry import TASKS
from modelyard.tasks.shared import samples
from modelyard.tasks.shared.languages import language_codes, language_token
from modelyard.tasks.video_classification import frames_of
from modelyard.worker.runtimes.processors import load_part, load_parts
from tests.coverage.architectures import layouts, words
from tests.coverage.architectures.configs import SIZES
from tests.coverage.architectures.layouts import CONTEXT, WORD_BOXES


def samples_png() -> bytes:
    """A picture that no processor has to turn or unpack with a loss."""
    file = io.BytesIO()
    Image.fromarray(samples.scene(72, 56)).save(file, "PNG")
    return file.getvalue()


TEXT = "Once upon a time there was a small house by the river."
QUESTION = "Where does Angela live?"
LABELS = ["a fox", "the old river", "sunny"]
NEW_TOKENS = 8
LEAST_SCORE = 0.2
"""Of what is found in an image. Random models are never sure."""
THING = "a small house"
LEAST_PRESENCE = 0.01
"""Of what is outlined by its name."""
WRITES_UNASKED = ("blip", "git", "pix2struct", "pp_formulanet", "vision-encoder-decoder")
"""Families that write about an image without being told what."""
GREEDY = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
PNG = samples_png()
SOUND = samples.sound(1.0)
MEDIA = {"image": PNG, "audio": SOUND}
MESSAGE = "Say what it is."
BODIES: dict[str, dict[str, Any]] = {
    "feature-extraction": {"text": TEXT},
    "fill-mask": {"text": TEXT},
    "text-classification": {"text": TEXT},
    "token-classification": {"text": TEXT, "params": {"aggregation_strategy": "none", "ignore_labels": []}},
    "question-answering": {"question": QUESTION, "context": CONTEXT},
    "text-generation": {"text": TEXT, "params": GREEDY},
    "text2text-generation": {"text": TEXT, "params": GREEDY},
    "image-feature-extraction": {},
    "image-classification": {},
    "video-classification": {},
    "audio-classification": {},
    "object-detection": {"params": {"threshold": LEAST_SCORE}},
    "image-segmentation": {"params": {"threshold": 0.05}},
    "depth-estimation": {},
    "mask-generation": {"params": {"input_points": [[20, 30]]}},
    "zero-shot-image-classification": {"candidate_labels": LABELS},
    "zero-shot-object-detection": {"candidate_labels": LABELS, "params": {"threshold": 0.1}},
    "visual-question-answering": {"question": QUESTION, "params": GREEDY},
    "document-question-answering": {"question": QUESTION, "word_boxes": WORD_BOXES, "params": GREEDY},
    "image-text-to-text": {"text": MESSAGE, "params": GREEDY},
    "audio-text-to-text": {"text": MESSAGE, "params": GREEDY},
    "image-to-text": {"text": MESSAGE, "params": GREEDY},
    "automatic-speech-recognition": {"params": GREEDY},
}
"""Task → what it is asked, but for the media that it reads."""
BESIDE_TEXT = frozenset({
    "bbox", "input_features", "input_values", "pixel_values", "pixel_values_videos", "visual_feats",
})  # fmt: skip
"""What encoders read that do not read texts alone."""
HEARD = ("input_features", "input_values")
"""How arguments end that hold a sound."""
SAME = {
    "summarization": "text2text-generation", "translation": "text2text-generation",
    "video-text-to-text": "image-text-to-text",
}  # fmt: skip
"""Tasks that are asked as another."""


def is_asked(head: str) -> bool:
    """Whether any task of models under `head` is compared."""
    return head == "base" or any(head in task.heads and SAME.get(task.id, task.id) in ANSWERS for task in TASKS)


def find_task(head: str, model: Any, folder: Path) -> str | None:
    """The task that a model under `head` is asked, None where none reads what it reads.

    Of several the one that we find: which of them it was trained for is not the library's to say.
    """
    reads = inputs_of(model)
    if getattr(model.config, "num_codebooks", 1) > 1 and head in ("base", "causal-lm"):
        return None  # it continues codes of sound, several at a time
    family = model.config.model_type
    if head == "base":
        if family in MODEL_FOR_KEYPOINT_MATCHING_MAPPING_NAMES:
            return None  # it reads two images
        if family in SIZES["colours_as_tokens"]:
            return "image-feature-extraction"
        if "input_ids" in reads:
            return "feature-extraction"
        is_video = family in MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES
        sees = "pixel_values" in reads and "grid_thw" not in reads and not is_video
        return "image-feature-extraction" if sees else None
    if head in ("multimodal-lm", "speech-seq2seq") and not any(name.endswith(HEARD) for name in reads):
        return None
    if head == "image-text-to-text" and not any("pixel" in name or "patches" in name for name in reads):
        return None
    fitting = [task.id for task in TASKS if head in task.heads and SAME.get(task.id, task.id) in ANSWERS]
    found = inspect_folder(folder).task
    return found if found in fitting else next((task for task in fitting if task == head), (*fitting, None)[0])


def inputs_of(model: Any) -> tuple[str, ...]:
    """The names of what its forward pass takes."""
    return tuple(inspect.signature(model.forward).parameters)


def wants_besides(task: str, model: Any) -> str:
    """What a model that is asked for its features may read beside the text or the image; empty where nothing."""
    read = {"feature-extraction": ("input_ids", "attention_mask"), "image-feature-extraction": ("pixel_values",)}
    if task not in read:
        return ""
    parameters = inspect.signature(model.forward).parameters
    needed = [
        name
        for name, each in parameters.items()
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    wanted = [name for name in parameters if name in (BESIDE_TEXT if task == "feature-extraction" else needed)]
    return ", ".join(name for name in wanted if name not in read[task])


def answer(task: str, kind: Any, folder: Path) -> Any:
    """The library's answer by the class `kind`."""
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return ANSWERS.get(task, ANSWERS[SAME.get(task, task)])(model, folder)


def _tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


def _accepted(model: Any, encoded: Any) -> dict[str, Any]:
    names = inputs_of(model)
    return {name: value for name, value in encoded.items() if name in names or "kwargs" in names}


def _embedding(model: Any, folder: Path) -> Any:
    encoded = words.read(_tokenizer(folder), TEXT, return_tensors="pt")
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    output = model(**_accepted(model, encoded))
    states = (output.last_hidden_state if "last_hidden_state" in output else output[0])[0]
    return (states.mean(dim=0) if states.ndim == 2 else states).tolist()


def _pipeline(task: str, model: Any, folder: Path, **options: Any) -> Any:
    return transformers.pipeline(task, model=model, tokenizer=_tokenizer(folder), **options)


def _labels(model: Any, folder: Path) -> Any:
    if "bbox" in inputs_of(model):
        return layouts.labels(model, _tokenizer(folder))
    return _pipeline("text-classification", model, folder, top_k=None)([TEXT])[0]


def _fillings(model: Any, folder: Path) -> Any:
    tokenizer = _tokenizer(folder)
    return _pipeline("fill-mask", model, folder)(TEXT.replace("small", tokenizer.mask_token))


def _tokens(model: Any, folder: Path) -> Any:
    if "bbox" in inputs_of(model):
        return layouts.tokens(model, _tokenizer(folder))
    found = _pipeline("token-classification", model, folder, ignore_labels=[])(TEXT)
    said = ("entity", "score", "index", "word", "start", "end")
    return [{name: row[name] for name in said if row[name] is not None} for row in found]


def _span(model: Any, folder: Path) -> Any:
    """The likeliest span of at most 15 tokens, over every pair of ends."""
    tokenizer = _tokenizer(folder)
    encoded = tokenizer(QUESTION, CONTEXT, return_tensors="pt")
    output = model(**_accepted(model, encoded))
    ids = encoded["input_ids"][0].tolist()
    if tokenizer.is_fast:
        kept = [place for place, part in enumerate(encoded.sequence_ids(0)) if part == 1]
    else:  # those written in Python do not say which part a token is of
        read = tokenizer(CONTEXT, add_special_tokens=False)["input_ids"]
        start = next(at for at in reversed(range(len(ids))) if ids[at : at + len(read)] == read)
        kept = list(range(start, start + len(read)))
    allowed = sorted({*kept, *([ids.index(tokenizer.cls_token_id)] if tokenizer.cls_token_id in ids else [])})
    starts, ends = (
        dict(zip(allowed, logits[0][allowed].softmax(-1).tolist(), strict=True))
        for logits in (output.start_logits, output.end_logits)
    )
    spans = [(starts[one] * ends[other], one, other) for one in kept for other in kept if one <= other < one + 15]
    return {"score": max(spans)[0]}


def _continuation(model: Any, folder: Path) -> Any:
    tokenizer = _tokenizer(folder)
    encoded = tokenizer(TEXT, return_tensors="pt")
    made = model.generate(**_generated_from(encoded), **GREEDY)[0]
    return tokenizer.decode(made[encoded["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def _rewritten(model: Any, folder: Path, **options: Any) -> Any:
    tokenizer = _tokenizer(folder)
    encoded = _generated_from(tokenizer(TEXT, return_tensors="pt"))
    made = model.generate(**encoded, **GREEDY, **options)[0]
    return tokenizer.decode(made, skip_special_tokens=True).strip()


def _translated(model: Any, folder: Path) -> Any:
    tokenizer = _tokenizer(folder)
    code = target_language(tokenizer)
    first = {} if code is None else {"forced_bos_token_id": language_token(tokenizer, code, "tgt_lang")}
    return _rewritten(model, folder, **first)


def target_language(tokenizer: Any) -> str | None:
    """The first of the languages that a tokenizer has tokens for."""
    return next(iter(language_codes(tokenizer)), None) if hasattr(tokenizer, "src_lang") else None


def _generated_from(encoded: Any) -> dict[str, Any]:
    """What generation reads of an encoded text: segments are no part of it."""
    return {name: value for name, value in encoded.items() if name in ("input_ids", "attention_mask")}


def video(config: Mapping[str, Any]) -> bytes:
    """A video of as many frames as a model reads: of a longer one the library's pipeline takes the first, and we such
    as stand for all of it."""
    return samples.video(frames_of(config), 64, 64)


def picture() -> Any:
    """The picture, as the library reads it."""
    return Image.open(io.BytesIO(PNG)).convert("RGB")


def sound(rate: int) -> Any:
    """The sound, as the library reads it."""
    with wave.open(io.BytesIO(SOUND)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        assert file.getframerate() == rate
    return samples


def _image_pipeline(task: str, model: Any, folder: Path, **options: Any) -> Any:
    """The library's pipeline for a task, asked about the picture."""
    return transformers.pipeline(task, model=model, **_parts(model, folder))(picture(), **options)


def _parts(model: Any, folder: Path) -> dict[str, Any]:
    """The folder's image processor or feature extractor, and its tokenizer where it has one."""
    parts = {}
    for name in ("image_processor", "feature_extractor"):
        try:
            parts[name] = load_part(folder, name)  # the library's, or ours where that wants torchaudio
        except (OSError, ValueError, KeyError, ImportError):
            continue
    if (folder / "tokenizer_config.json").exists():
        parts["tokenizer"] = _tokenizer(folder)
    return parts


def _features(model: Any, folder: Path) -> Any:
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    encoded = processor(picture(), return_tensors="pt")
    output = model(**{name: value for name, value in encoded.items() if name in inputs_of(model)})
    states = output.last_hidden_state if "last_hidden_state" in output else output[0]
    states = (states[-1] if isinstance(states, tuple) else states)[0]  # a backbone's last map
    if model.config.model_type.startswith("sam2"):
        return states.flatten(0, 1).tolist()  # its maps have their channels last
    return (states if states.ndim == 2 else states.flatten(1).T).tolist()


def _image_labels(model: Any, folder: Path) -> Any:
    if model.config.model_type == "pp_lcnet":  # which the library's pipeline finds no scores of
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
        scores = model(**processor(picture(), return_tensors="pt")).last_hidden_state[0].softmax(-1)
        best = scores.argsort(descending=True, stable=True).tolist()
        return [{"label": model.config.id2label[one], "score": float(scores[one])} for one in best]
    return _image_pipeline("image-classification", model, folder)


def _objects(model: Any, folder: Path) -> Any:
    return _image_pipeline("object-detection", model, folder, threshold=LEAST_SCORE)


def _segments(model: Any, folder: Path) -> Any:
    found = _image_pipeline("image-segmentation", model, folder, threshold=0.05)
    return [{"label": row["label"], "pixels": float((np.asarray(row["mask"]) > 0).sum())} for row in found]


def _depth(model: Any, folder: Path) -> Any:
    return _image_pipeline("depth-estimation", model, folder)["predicted_depth"].tolist()


def _masks(model: Any, folder: Path) -> Any:
    processor = transformers.AutoProcessor.from_pretrained(folder)
    if "input_ids" in inputs_of(model):
        encoded = processor(images=picture(), text=THING, return_tensors="pt")
        (found,) = processor.post_process_instance_segmentation(
            model(**_accepted(model, encoded)), threshold=LEAST_PRESENCE, target_sizes=[picture().size[::-1]]
        )
        return {"scores": sorted(found["scores"].tolist(), reverse=True)}
    encoded = processor(picture(), input_points=[[[[20.0, 30.0]]]], return_tensors="pt")
    arguments = {name: value.float() if name == "input_points" else value for name, value in encoded.items()}
    output = model(**_accepted(model, arguments), multimask_output=True)
    return {"scores": output.iou_scores.flatten().tolist()}


def _zero_shot_labels(model: Any, folder: Path) -> Any:
    return _image_pipeline("zero-shot-image-classification", model, folder, candidate_labels=LABELS)


def _zero_shot_objects(model: Any, folder: Path) -> Any:
    return _image_pipeline("zero-shot-object-detection", model, folder, candidate_labels=LABELS, threshold=0.1)


def _video_labels(model: Any, folder: Path) -> Any:
    file = folder / "video.mp4"
    file.write_bytes(video(model.config.to_dict()))
    if "pixel_values_videos" in inputs_of(model):
        processor = transformers.AutoVideoProcessor.from_pretrained(folder)
        frames = [frame.to_ndarray(format="rgb24") for frame in av.open(str(file)).decode(video=0)]
        scores = model(**processor(np.stack(frames), return_tensors="pt")).logits.ravel().softmax(-1)
        best = scores.argsort(descending=True).tolist()
        return [{"label": model.config.id2label[one], "score": float(scores[one])} for one in best]
    return transformers.pipeline("video-classification", model=model, **_parts(model, folder))(str(file))


def _sound_labels(model: Any, folder: Path) -> Any:
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    run = transformers.pipeline("audio-classification", model=model, feature_extractor=extractor)
    return run(sound(extractor.sampling_rate))


def _speech(model: Any, folder: Path) -> Any:
    processor = whole_processor(model, folder, "speech-seq2seq")
    talks = not model.config.is_encoder_decoder and _tokenizer(folder).chat_template is not None
    if talks or hasattr(processor, "apply_transcription_request"):
        return _speech_on_request(model, processor)
    parts = _parts(model, folder)
    parts.pop("image_processor", None)
    run = transformers.pipeline("automatic-speech-recognition", model=model, **parts)
    if run.type == "tdt":  # whose processor tells more than the pipeline reads
        heard = sound(parts["feature_extractor"].sampling_rate)
        made = model.generate(**processor(heard, sampling_rate=parts["feature_extractor"].sampling_rate)).sequences
        return processor.decode(made, skip_special_tokens=True)[0].strip()
    # The pipeline has five beams by default; models, and we, have one.
    options = {} if run.type == "ctc" else {"generate_kwargs": {**GREEDY, "num_beams": 1}}
    return run(sound(parts["feature_extractor"].sampling_rate), **options)["text"].strip()


def _speech_on_request(model: Any, processor: Any) -> Any:
    """As the cards of models show it that are asked in words, which the library's pipeline does not do."""
    heard = sound(sound_part(processor).sampling_rate)
    if hasattr(processor, "apply_transcription_request"):
        encoded = processor.apply_transcription_request(audio=[heard], return_tensors="pt")
    else:
        blocks = [{"type": "audio"}, {"type": "text", "text": "Transcribe the audio clip into text."}]
        prompt = processor.tokenizer.apply_chat_template(
            [{"role": "user", "content": blocks}], add_generation_prompt=True, tokenize=False
        )
        encoded = processor(text=prompt, audio=[heard], return_tensors="pt")
    made = model.generate(**encoded, **GREEDY)
    start = encoded["decoder_input_ids" if model.config.is_encoder_decoder else "input_ids"].shape[1]
    takes = inspect.signature(processor.decode).parameters
    reading = {"return_format": "transcription_only", "strip_prefix": True}
    settings = {name: value for name, value in reading.items() if name in takes}
    return processor.decode(made[:, start:], skip_special_tokens=True, **settings)[0].strip()


def sound_part(processor: Any) -> Any:
    """The part of a processor that hears."""
    return getattr(processor, "feature_extractor", None) or processor.audio_processor


def _answers(model: Any, folder: Path) -> Any:
    processor = whole_processor(model, folder, "visual-question-answering")
    encoded = processor(images=picture(), text=QUESTION, return_tensors="pt")
    if model.config.model_type == "vilt":
        scores = model(**_accepted(model, encoded)).logits[0].sigmoid()
        best = scores.argsort(descending=True, stable=True)[:5].tolist()
        return [{"score": float(scores[one]), "answer": model.config.id2label[one]} for one in best]
    made = model.generate(**_accepted(model, encoded), **GREEDY)[0]
    return [{"answer": processor.tokenizer.decode(made, skip_special_tokens=True).strip()}]


def _document_answer(model: Any, folder: Path) -> Any:
    if model.config.model_type == "udop":
        processor = whole_processor(model, folder, "vision-encoder-decoder")
        made = model.generate(**layouts.encode_question(processor, QUESTION, picture()), **GREEDY)[0]
        return [{"answer": processor.tokenizer.decode(made, skip_special_tokens=True).strip()}]
    run = transformers.pipeline("document-question-answering", model=model, **_parts(model, folder))
    found = run(image=None, question=QUESTION, word_boxes=[tuple(each) for each in WORD_BOXES])
    return [{name: row[name] for name in ("answer", "score")} for row in found]


def whole_processor(model: Any, folder: Path, head: str) -> Any:
    """The library's, put together by us where the library insists on a part that reads videos."""
    try:
        return transformers.AutoProcessor.from_pretrained(folder)
    except (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError, RuntimeError):
        return load_parts(folder, head, model.config, remote_code=False)[1]


def _talk(model: Any, folder: Path, kind: str, **media: Any) -> Any:
    processor = whole_processor(model, folder, "multimodal-lm" if kind == "audio" else "image-text-to-text")
    content = [{"type": kind}, {"type": "text", "text": MESSAGE}]
    messages = [{"role": "user", "content": content}]
    # One put together without the part that reads videos cannot render for it; others have no template of their own.
    whole = getattr(processor, "video_processor", True) is not None and processor.chat_template
    renders = processor if whole else processor.tokenizer
    prompt = renders.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    encoded = processor(text=prompt, **media, return_tensors="pt")
    made = model.generate(**encoded, **GREEDY)[0]
    start = 0 if model.config.is_encoder_decoder else encoded["input_ids"].shape[1]
    return processor.tokenizer.decode(made[start:], skip_special_tokens=True).strip()


def _talk_of_image(model: Any, folder: Path) -> Any:
    return _talk(model, folder, "image", images=[picture()])


def _talk_of_sound(model: Any, folder: Path) -> Any:
    rate = transformers.AutoFeatureExtractor.from_pretrained(folder).sampling_rate
    return _talk(model, folder, "audio", audio=[sound(rate)], sampling_rate=rate)


def _caption(model: Any, folder: Path) -> Any:
    if model.config.model_type in ("pp_formulanet", "vision-encoder-decoder"):
        pixels = transformers.AutoImageProcessor.from_pretrained(folder)(picture(), return_tensors="pt").pixel_values
        made = model.generate(pixel_values=pixels, **GREEDY)[0]
        return _tokenizer(folder).decode(made, skip_special_tokens=True).strip()
    processor = whole_processor(model, folder, "image-text-to-text")
    if model.config.model_type not in WRITES_UNASKED:
        return _talk(model, folder, "image", images=[picture()])
    made = model.generate(**processor(images=picture(), return_tensors="pt"), **GREEDY)[0]
    return processor.tokenizer.decode(made, skip_special_tokens=True).strip()


ANSWERS: dict[str, Callable[[Any, Path], Any]] = {
    "feature-extraction": _embedding,
    "fill-mask": _fillings,
    "text-classification": _labels,
    "token-classification": _tokens,
    "question-answering": _span,
    "text-generation": _continuation,
    "text2text-generation": _rewritten,
    "translation": _translated,
    "image-feature-extraction": _features,
    "image-classification": _image_labels,
    "object-detection": _objects,
    "image-segmentation": _segments,
    "depth-estimation": _depth,
    "mask-generation": _masks,
    "zero-shot-image-classification": _zero_shot_labels,
    "zero-shot-object-detection": _zero_shot_objects,
    "video-classification": _video_labels,
    "audio-classification": _sound_labels,
    "automatic-speech-recognition": _speech,
    "visual-question-answering": _answers,
    "document-question-answering": _document_answer,
    "image-text-to-text": _talk_of_image,
    "audio-text-to-text": _talk_of_sound,
    "image-to-text": _caption,
}
