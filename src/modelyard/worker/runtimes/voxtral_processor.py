"""Voxtral's processor by its format alone. The library's asks another library, mistral-common, to write each request,
and to split texts into tokens, whose tokenizers know nothing of what ours are asked for.

Source: InstructTokenizerV7 of mistral-common (Apache-2.0), which says how requests with sounds are written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from transformers import BatchFeature, ProcessorMixin
from transformers.models.voxtral import processing_voxtral as voxtral

MARK = "[AUDIO]"
"""Stands for a sound in a text, and then for each of its tokens."""
TOKENS_IN_PIECE = 375
"""Of each 30 seconds of a sound, whose last piece is filled up with silence."""
SOUND = f"[BEGIN_AUDIO]{MARK}"
TEMPLATE = (
    "<s>{% for message in messages %}"
    "{% if message.role not in ('user', 'assistant') %}"
    "{{ raise_exception('Voxtral reads messages of the user and the assistant only') }}{% endif %}"
    "{% if message.role == 'user' %}[INST]{% endif %}"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for block in message.content %}"
    "{% if block.type == 'audio' %}" + SOUND + "{% else %}{{ block.text }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '[/INST]' if message.role == 'user' else '</s>' }}"
    "{% endfor %}"
)


class VoxtralProcessor(voxtral.VoxtralProcessor):  # type: ignore[misc]  # the library is untyped
    """Texts with marks, and sounds, to what the model reads; a list of sounds to the requests to write them down."""

    def __init__(self, feature_extractor: Any, tokenizer: Any) -> None:
        super().__init__(feature_extractor, tokenizer)
        self.chat_template = TEMPLATE

    apply_chat_template = ProcessorMixin.apply_chat_template

    def __call__(self, text: str | list[str], audio: Sequence[Any] = (), **_: Any) -> Any:
        """The tokens of `text`, of which each mark stands for the next sound, and the sounds' features: (pieces, mels,
        frames)."""
        texts = [text] if isinstance(text, str) else text
        settings = {name: value for name, value in self.audio_kwargs.items() if name != "max_source_positions"}
        frames = self.audio_kwargs["max_source_positions"]
        sounds = [self._retrieve_input_features([sound], frames, **settings) for sound in audio]
        places = sum(each.count(MARK) for each in texts)
        if places != len(sounds):
            raise ValueError(f"{places} places for {len(sounds)} sounds")
        lengths = iter([len(pieces) * TOKENS_IN_PIECE for pieces in sounds])
        marked = [re.sub(re.escape(MARK), lambda _: MARK * next(lengths), each) for each in texts]
        encoded = dict(self.tokenizer(marked, add_special_tokens=False, return_tensors="pt", padding=len(marked) > 1))
        if sounds:
            encoded["input_features"] = voxtral.torch.cat(sounds)
        return BatchFeature({name: encoded[name] for name in encoded if name != "token_type_ids"})

    def apply_transcription_request(
        self, audio: Sequence[Any], language: str | None = None, tokenize: bool = True
    ) -> Any:
        """A request for each sound to write it down; encoded, or as texts. `language`: its code of two letters."""
        if language is not None and not (len(language) == 2 and language.isascii() and language.isalpha()):
            raise ValueError(f"{language!r} is no code of two letters, such as en or de")
        told = "" if language is None else f"lang:{language.lower()}"
        texts = [f"<s>[INST]{SOUND}[/INST]{told}[TRANSCRIBE]"] * len(audio)
        return self(texts, audio) if tokenize else texts
