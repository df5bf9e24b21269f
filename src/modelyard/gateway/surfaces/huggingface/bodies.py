"""From the bodies of Hugging Face's clients to the unified body of a task. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Task

OWN = ("inputs", "parameters", "options", "stream", "question", "image", "model", "models")
"""Fields of a body that are no settings. Others beside them are: feature-extraction's stand there."""
FIELDS = {"source_sentence": "text", "image": "base64", "audio": "base64", "video": "base64"}
"""Fields inside `inputs` → ours, where they differ."""
AS_FIELDS = (
    "candidate_labels", "word_boxes", "mask", "mask_url", "control_image", "control_image_url", "last_image",
    "last_image_url",
)  # fmt: skip
"""Settings that are fields of ours."""
NOTHING = {
    "adapter_id": (), "best_of": (1,), "decoder_input_details": (False,), "details": (False, True), "grammar": (),
    "top_n_tokens": (), "truncate": (), "watermark": (False,),
}  # fmt: skip
"""Settings of text-generation-inference that nothing is done about here, with the values that ask for nothing; what
`details` asks for is in the answer."""
EMBEDDING_DEFAULTS = (
    ("truncation_direction", "right"),
    ("truncation_direction", "Right"),
    ("encoding_format", "float"),
)
"""Settings of embeddings, with the values that ask for nothing."""
WRITERS = ("text-generation", "chat", "text2text-generation")


def to_unified(task: Task, body: Mapping[str, Any]) -> dict[str, Any]:
    """The unified body of a task. Raises InvalidRequest."""
    parameters = {**{name: value for name, value in body.items() if name not in OWN}, **settings_of(body)}
    params = {name: value for name, value in parameters.items() if value is not None}
    unified = fields_of(task, body)
    known = task.inputs.__struct_fields__
    for name in AS_FIELDS:
        if name in params and (name in known or name.removesuffix("_url") in known):
            unified[name] = params.pop(name)
    if "prompt" in params and "text" in known:
        unified["text"] = params.pop("prompt")
    return {**unified, "params": own_params(task, params)}


def settings_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body's `parameters`. Raises InvalidRequest."""
    parameters = body.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequest(field="parameters", got=parameters, accepted="an object")
    return dict(parameters or {})


def fields_of(task: Task, body: Mapping[str, Any]) -> dict[str, Any]:
    """What the task reads."""
    inputs = body.get("inputs")
    beside = {name: value for name in ("question",) if (value := body.get(name)) is not None}
    if isinstance(inputs, dict):
        return {"input": {FIELDS.get(name, name): value for name, value in inputs.items()}, **beside}
    if task.media is not None:
        return {**({} if inputs is None else {"base64": inputs}), **beside}
    if task.id == "chat" and isinstance(inputs, list):
        return {"messages": inputs}
    return {"text": inputs}


def own_params(task: Task, params: dict[str, Any]) -> dict[str, Any]:
    """The params as the task names them. Raises InvalidRequest."""
    if task.id in WRITERS:
        refuse_unknown(params)
        params = {name: value for name, value in params.items() if name not in NOTHING}
    if task.id == "text-generation":
        params.setdefault("return_full_text", False)
    elif task.id == "chat" or params.get("return_full_text") is False:
        params.pop("return_full_text", None)
    if task.id in ("translation", "summarization"):
        params |= inner(params, "generate_parameters")
    if task.id in ("image-to-image", "image-to-video"):
        params |= inner(params, "target_size")
    if task.id in ("feature-extraction", "sentence-similarity"):
        given = {name: value for name, value in params.items() if (name, value) not in EMBEDDING_DEFAULTS}
        params = {**({} if task.closed else {"sparse": False}), **given}  # the client reads numbers
    return params


def inner(params: dict[str, Any], name: str) -> dict[str, Any]:
    """Settings that are inside one, which is taken out. Raises InvalidRequest."""
    value = params.pop(name, None)
    if value is not None and not isinstance(value, dict):
        raise InvalidRequest(field=f"parameters.{name}", got=value, accepted="an object")
    return {key: each for key, each in (value or {}).items() if each is not None}


def refuse_unknown(params: Mapping[str, Any]) -> None:
    """Raises InvalidRequest for a setting that asks for what is not done here."""
    for name, neutral in NOTHING.items():
        value = params.get(name)
        if value is not None and not any(type(each) is type(value) and each == value for each in neutral):
            nothing = " or ".join(repr(each) for each in neutral) or "nothing"
            raise InvalidRequest(
                field=f"parameters.{name}", got=value, accepted=f"{nothing}: this server does not do more for it"
            )
