"""The one module that meets the library which knows providers' APIs: one call of it for each kind of task.

What it is given and answers is in the shapes of OpenAI's API, whoever is asked; `requests` and `answers` translate.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from modelyard.errors import InferenceFailed, InvalidRequest, ModelyardError
from modelyard.media import sniff
from modelyard.protocol import Outcome
from modelyard.providers.answers import (
    Message,
    conversation_outcome,
    text_outcome,
    transcript_outcome,
    usage_of,
    vectors_outcome,
)
from modelyard.providers.asked import Asked
from modelyard.providers.calls import Emit
from modelyard.providers.failures import to_error, unsupported
from modelyard.providers.requests import messages_of, raw_json, settings_of
from modelyard.records.providers import CHAT, EMBED, LISTEN, PAINT, SPEAK, WRITE

_raw: ContextVar[list[Any] | None] = ContextVar("raw", default=None)
"""Where the provider's own answer to the request of this task is kept."""
FORMATS = {
    "wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "opus": "audio/ogg", "aac": "audio/aac",
    "pcm": "audio/pcm",
}  # fmt: skip
TIMED_MODELS = "whisper"
"""Models with this in their name tell times, and how long the sound was."""


class RawAnswers(CustomLogger):  # type: ignore[misc]
    """Keeps what providers answer, as they said it."""

    def log_post_api_call(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Called by the library, in the task of the request."""
        kept = _raw.get()
        if kept is not None and isinstance(answer := kwargs.get("original_response"), str):
            kept.append(answer)


def set_up() -> None:
    """Keeps the library from writing, from asking anybody but the provider, and from trying again by itself."""
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.turn_off_message_logging = True
    litellm.drop_params = False
    litellm.num_retries = 0
    litellm.callbacks = [RawAnswers()]
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "httpx", "httpcore", "openai"):
        logging.getLogger(name).disabled = True  # what they write may hold a key


set_up()


async def ask(asked: Asked, emit: Emit | None) -> Outcome:
    """Asks a provider once. `emit`: takes the pieces of the answer; None: it is wanted as a whole.

    Raises ProviderKeyRefused, ProviderRefused, ProviderBusy, ProviderFailed, InvalidRequest, InferenceFailed.
    """
    kept: list[Any] = []
    token = _raw.set(kept)
    try:
        return await CALLS[asked.task](asked, emit)
    except ModelyardError:
        raise
    except litellm.UnsupportedParamsError as error:
        words = f"{asked.provider} does not take a setting of this request: {error}"
        raise InvalidRequest(words.replace(asked.key, "***"), field="params") from None
    except Exception as error:  # noqa: BLE001 - the library raises classes of many libraries
        raise to_error(error, asked.provider, asked.key) from None
    finally:
        _raw.reset(token)


async def chat(asked: Asked, emit: Emit | None) -> Outcome:
    """Answers a conversation."""
    settings = settings_of(asked, supported_by(asked))
    if tools := asked.fields.get("tools"):
        if "tools" not in supported_by(asked):
            raise unsupported(asked.provider, "tools", tools)
        settings["tools"] = tools
    arguments = {**common(asked), **settings, "messages": messages_of(asked.fields)}
    if emit is None:
        answer = (await litellm.acompletion(**arguments)).model_dump()
        return conversation_outcome(asked, answer["choices"], answer.get("usage"), raw_of(answer))
    if settings.get("n", 1) > 1:
        raise InvalidRequest(field="params.num_return_sequences", got=settings["n"], accepted="1 with stream")
    message, usage, last = Message(), None, None
    stream = await litellm.acompletion(**arguments, stream=True, stream_options={"include_usage": True})
    async for event in stream:
        last = event.model_dump()
        usage = last.get("usage") or usage
        for choice in last["choices"]:
            for piece in message.add(choice):
                emit(piece)
    if message.reason is None:
        raise InferenceFailed(f"The stream of {asked.provider} broke off.")
    return conversation_outcome(asked, [message.whole()], usage, last)


async def write(asked: Asked, emit: Emit | None) -> Outcome:
    """Continues texts."""
    arguments = {**common(asked), **settings_of(asked, supported_by(asked)), "prompt": asked.fields["text"]}
    given = asked.fields["text"]
    if emit is None or not isinstance(given, str):
        answer = (await litellm.atext_completion(**arguments)).model_dump()
        return text_outcome(asked, answer["choices"], answer.get("usage"), raw_of(answer))
    shows = asked.params.get("return_full_text", True)
    emit(given if shows else "")
    pieces: list[str] = []
    usage, last, reason = None, None, None
    async for event in await litellm.atext_completion(**arguments, stream=True, stream_options={"include_usage": True}):
        last = event.model_dump()
        usage = last.get("usage") or usage
        for choice in last["choices"]:
            reason = choice.get("finish_reason") or reason
            pieces.append(choice.get("text") or "")
            emit(pieces[-1])
    return text_outcome(asked, [{"text": "".join(pieces), "finish_reason": reason}], usage, last)


async def embed(asked: Asked, _emit: Emit | None) -> Outcome:
    """Turns texts into vectors."""
    given = asked.fields["text"]
    dimensions = asked.params.get("dimensions")
    sized = {} if dimensions is None else {"dimensions": dimensions}
    answer = await litellm.aembedding(**common(asked), input=[given] if isinstance(given, str) else given, **sized)
    told = answer.model_dump()
    return vectors_outcome(asked, told["data"], told.get("usage"), None)


async def paint(asked: Asked, _emit: Emit | None) -> Outcome:
    """Makes an image."""
    params = asked.params
    settings = {"quality": params["quality"]} if params.get("quality") else {}
    if params.get("width") and params.get("height"):
        settings["size"] = f"{params['width']}x{params['height']}"
    if asked.model.startswith("dall-e"):
        settings["response_format"] = "b64_json"
    answer = (await litellm.aimage_generation(**common(asked), prompt=asked.fields["text"], **settings)).model_dump()
    images = [each["b64_json"] for each in answer.get("data") or () if each.get("b64_json")]
    if not images:
        raise InferenceFailed(f"{asked.provider} answered without an image in base64.")
    data = base64.b64decode(images[0])
    found = sniff.sniff(data)
    made = {"data": data, "media_type": "image/png" if found is None else found.media_type}
    return Outcome(made, usage_of(answer.get("usage"), ()))


async def speak(asked: Asked, _emit: Emit | None) -> Outcome:
    """Reads a text aloud."""
    params = asked.params
    wanted = params.get("audio_format", "wav")
    settings = {"speed": params["speaking_rate"]} if params.get("speaking_rate") else {}
    answer = await litellm.aspeech(
        **common(asked),
        input=asked.fields["text"],
        voice=params.get("voice", "alloy"),
        response_format=wanted,
        **settings,
    )
    return Outcome({"data": answer.content, "media_type": FORMATS[wanted]})


async def listen(asked: Asked, _emit: Emit | None) -> Outcome:
    """Writes down what is said."""
    params, data = asked.params, asked.fields["media"]["data"]
    settings = {name: params[name] for name in ("language", "prompt", "temperature") if params.get(name) is not None}
    wanted = params.get("return_timestamps")
    timed = TIMED_MODELS in asked.model
    if wanted and not timed:
        raise unsupported(asked.provider, "params.return_timestamps", wanted)
    if wanted == "word":
        settings["timestamp_granularities"] = ["word"]
    found = sniff.sniff(data)
    ending = "bin" if found is None else found.media_type.partition("/")[2]
    answer = await litellm.atranscription(
        **common(asked),
        file=(f"sound.{ending}", bytes(data)),
        response_format="verbose_json" if timed else "json",
        **settings,
    )
    told = answer.model_dump()
    return transcript_outcome(asked, told, raw_of(told))


CALLS: dict[str, Callable[[Asked, Emit | None], Awaitable[Outcome]]] = {
    CHAT: chat, WRITE: write, EMBED: embed, PAINT: paint, SPEAK: speak, LISTEN: listen,
}  # fmt: skip


def common(asked: Asked) -> dict[str, Any]:
    """The arguments of every call."""
    where: dict[str, Any] = {} if asked.url is None else {"api_base": asked.url}
    if asked.traceparent:
        where["extra_headers"] = {"traceparent": asked.traceparent}
    model = f"{prefix_of(asked)}/{asked.model}"
    return {"model": model, "api_key": asked.key, "max_retries": 0, "timeout": asked.within_s, **where}


def prefix_of(asked: Asked) -> str:
    """The library's word for the provider; Cohere's conversations have one of their own."""
    return "cohere_chat" if (asked.prefix, asked.task) == ("cohere", CHAT) else asked.prefix


def supported_by(asked: Asked) -> frozenset[str]:
    """The settings that the provider takes of a model."""
    prefix = "text-completion-openai" if asked.task == WRITE else prefix_of(asked)
    known = litellm.get_supported_openai_params(model=asked.model, custom_llm_provider=prefix)
    return frozenset(known or ())


def raw_of(answer: dict[str, Any]) -> Any:
    """What the provider said; where the library does not pass it on, what it has made of it."""
    kept = _raw.get() or []
    found = next((data for text in reversed(kept) if (data := raw_json(text)) is not None), None)
    return answer if found is None else found
