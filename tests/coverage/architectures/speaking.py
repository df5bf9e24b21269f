"""Whole models of which one part writes and others say it (Qwen-Omni), tiny: around the part that writes, which is
built as any other, the parts that speak, and voices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from modelyard.worker.runtimes.processors import load_parts
from tests.coverage.architectures.building import build, spread
from tests.coverage.cases import Case

FAMILIES = {
    "qwen2_5_omni": "Qwen2_5OmniForConditionalGeneration",
    "qwen3_omni_moe": "Qwen3OmniMoeForConditionalGeneration",
}
"""Family → the class of the whole model."""
THINKERS = {
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen3_omni_moe": "Qwen3OmniMoeThinkerForConditionalGeneration",
}
"""Family → the class of the part that writes."""
MARKS_OF_TURNS = ["<|im_start|>", "<|im_end|>"]
TURNS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.content is string %}"
    "{{ message.content }}{% else %}{% for block in message.content %}{% if block.type == 'text' %}{{ block.text }}"
    "{% elif block.type == 'image' %}IMAGE{% elif block.type == 'audio' %}SOUND{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A conversation, with the marks by which the parts that speak find the turns."""
BANDS = 8
"""Of the spectrograms that sound is made of."""
ENDS = {"qwen2_5_omni": [8292, 8294], "qwen3_omni_moe": [70]}
"""Codes that end what is said; Qwen2.5's are the library's own."""
LOUD = 4.0
"""How much more than others a code is listened for that ends what is said: else a random model goes on for minutes."""
HEADS = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
VOICES = ("Chelsie", "Ethan")


def build_whole(family: str, folder: Path) -> Any:
    """Writes the model of `family` into `folder`; returns its class."""
    case = Case("architectures", f"{family}_thinker", THINKERS[family], "image-text-to-text")
    thinker = build(case, folder, "all")
    tokenizer = mark_turns(folder)
    kind = getattr(transformers, FAMILIES[family])
    torch.manual_seed(1)
    model = spread(kind(CONFIGS[family](kind.config_class, thinker.config, turns_of(tokenizer))).eval())
    model.thinker.load_state_dict(thinker.state_dict())
    with torch.no_grad():
        model.thinker.lm_head.weight[tokenizer.all_special_ids] = 0.0  # it writes words, and more than one
        for module in model.modules():
            if isinstance(module, torch.nn.Conv1d | torch.nn.ConvTranspose1d):  # else it whispers
                module.weight.normal_(0.0, module.weight[0].numel() ** -0.5)
        ends = torch.nn.functional.normalize(torch.randn(model.talker.codec_head.in_features), dim=0) * LOUD
        for end, sign in zip(ENDS[family], (1, -1), strict=False):  # of two, one is always likely
            model.talker.codec_head.weight[end] = ends * sign
    model.save_pretrained(folder)
    if family == "qwen2_5_omni":
        torch.save({name: voice() for name in VOICES}, folder / "spk_dict.pt")
    return kind


def voice() -> dict[str, Any]:
    """One of Qwen2.5-Omni's: an embedding, a spectrogram of somebody who speaks, and the token with which it begins."""
    return {"cond": torch.randn(1, BANDS), "ref_mel": torch.randn(1, 30, BANDS), "bos_token": 5}


def mark_turns(folder: Path) -> Any:
    """The folder's tokenizer, given marks of turns and a template that has them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"extra_special_tokens": [*tokenizer.extra_special_tokens, *MARKS_OF_TURNS]})
    image = f"{tokenizer.vision_bos_token}{tokenizer.image_token}{tokenizer.vision_eos_token}"
    sound = f"{tokenizer.audio_bos_token}{tokenizer.audio_token}{tokenizer.audio_eos_token}"
    tokenizer.chat_template = TURNS.replace("IMAGE", image).replace("SOUND", sound)
    tokenizer.save_pretrained(folder)
    return tokenizer


def turns_of(tokenizer: Any) -> dict[str, int]:
    """The ids by which turns are found, as configs call them."""
    start, end = tokenizer.convert_tokens_to_ids(MARKS_OF_TURNS)
    roles = {
        f"{role}_token_id": tokenizer(role, add_special_tokens=False)["input_ids"][0]
        for role in ("system", "user", "assistant")
    }
    return {"im_start_token_id": start, "im_end_token_id": end, **roles}


def qwen2_5_omni(kind: Any, thinker: Any, _marks: dict[str, int]) -> Any:
    """A talker of codes, a diffusion model that makes bands of them, and a vocoder."""
    width = thinker.text_config.hidden_size
    small = {"mel_dim": BANDS, "enc_emb_dim": BANDS, "enc_dim": BANDS, "enc_channels": [8, 8, 8, 8, 24]}
    talker = {
        **HEADS, "hidden_size": 32, "intermediate_size": 64, "embedding_size": width, "pad_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 2, 2]},
        "tts_text_start_token_id": 5, "tts_text_end_token_id": 6, "tts_text_pad_token_id": 7,
        **{name: getattr(thinker, name) for name in MARKS},
    }  # fmt: skip
    return kind(
        thinker_config=thinker.to_dict(),
        talker_config=talker,
        token2wav_config={
            "dit_config": {
                **small, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 16,
                "emb_dim": 16, "look_ahead_layers": [0], "look_backward_layers": [1], "num_embeds": 8448,
                "enc_attention_channels": 8, "enc_res2net_scale": 2, "enc_se_channels": 8,
            },
            "bigvgan_config": {
                "mel_dim": BANDS, "upsample_initial_channel": 8, "resblock_kernel_sizes": [3],
                "resblock_dilation_sizes": [[1, 3, 5]], "upsample_rates": [4, 2], "upsample_kernel_sizes": [8, 4],
            },
        },
    )  # fmt: skip


def qwen3_omni_moe(kind: Any, thinker: Any, marks: dict[str, int]) -> Any:
    """A talker of the first code of each moment, what predicts the others, and a decoder of all."""
    small = {**HEADS, "hidden_size": 32, "intermediate_size": 64}
    text = {
        **small, "vocab_size": 1088, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
        "num_experts": 4, "num_experts_per_tok": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 2, 2]},
    }  # fmt: skip
    talker = {
        "text_config": text, "num_code_groups": 4, "thinker_hidden_size": thinker.text_config.hidden_size,
        "code_predictor_config": {**small, "vocab_size": 64, "num_code_groups": 4},
        "spatial_merge_size": thinker.vision_config.spatial_merge_size,
        "accept_hidden_layer": 1, "codec_eos_token_id": 70, "codec_nothink_id": 71, "codec_think_bos_id": 72,
        "codec_think_eos_id": 73, "codec_pad_id": 74, "codec_bos_id": 75,
        "speaker_id": {name.lower(): 80 + at for at, name in enumerate(VOICES)},
        **{name: getattr(thinker, name) for name in MARKS},
    }  # fmt: skip
    return kind(
        thinker_config=thinker.to_dict(),
        talker_config=talker,
        code2wav_config={
            "codebook_size": 64, "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2,
            "intermediate_size": 64, "num_hidden_layers": 1, "num_quantizers": 4, "upsample_rates": [4, 2],
            "upsampling_ratios": [2, 2], "decoder_dim": 16, "sliding_window": 16,
        },
        tts_pad_token_id=7, tts_bos_token_id=5, tts_eos_token_id=6, **marks,
    )  # fmt: skip


MARKS = ("audio_token_id", "image_token_id", "video_token_id", "audio_start_token_id", "vision_start_token_id")
"""What of the part that writes the part that speaks is told too, to tell places apart."""
CONFIGS = {"qwen2_5_omni": qwen2_5_omni, "qwen3_omni_moe": qwen3_omni_moe}


def say(
    kind: Any,
    folder: Path,
    media: dict[str, Any],
    content: list[dict[str, str]],
    *,
    voice: str,
    seed: int,
    new_tokens: int,
) -> tuple[str, Any]:
    """What the library alone writes to one message, greedily, and its sound. `media`: as its processor takes them."""
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    _, processor = load_parts(folder, "image-text-to-text", model.config, remote_code=False)
    messages = [{"role": "user", "content": content}]
    prompt = processor.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = dict(processor(text=prompt, return_tensors="pt", **media))
    if "pixel_values" in inputs:  # which the part that speaks does not take
        inputs["thinker_pixel_values"] = inputs.pop("pixel_values")
    torch.manual_seed(seed)
    with torch.inference_mode():
        ids, sound = model.generate(**inputs, speaker=voice, thinker_max_new_tokens=new_tokens, thinker_do_sample=False)
    written = processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return written, sound.reshape(-1).numpy()
