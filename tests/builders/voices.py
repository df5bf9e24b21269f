"""Families that speak step by step: Bark with a preset, CSM, Dia with its audio tokenizer.

Not called from a shell: `tests.builders.registry` reaches them through `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import transformers as library

from tests.builders import tokenizers
from tests.builders.families import save, spread, write_json

PRESET = "v2/en_speaker_6"
SAID, CODES = 24, 32
"""Of Bark: tokens of what is said, and codes in each of its codebooks."""
CSM_TEMPLATE = (
    "{% for message in messages %}{% for block in message['content'] %}{% if block['type'] == 'text' %}"
    "{{ '<|begin_of_text|>[' + message['role'] + ']' + block['text'] + '<|end_of_text|>' }}"
    "{% else %}{{ '<|AUDIO|><|audio_eos|>' }}{% endif %}{% endfor %}{% endfor %}"
)


def bark(folder: Path) -> None:
    """Bark that says at most 12 tokens, with one preset of a voice."""
    words = tokenizers.wordpiece()
    small = {"hidden_size": 16, "num_layers": 1, "num_heads": 2}
    offset, pad = CODES, CODES + len(words)
    coarse_pad = SAID + 2 * CODES
    codec = library.EncodecConfig(
        sampling_rate=800,
        audio_channels=1,
        upsampling_ratios=[8, 4],
        num_filters=4,
        hidden_size=16,
        codebook_size=CODES,
        codebook_dim=16,
        num_lstm_layers=1,
        target_bandwidths=[1.0],
    )
    config = library.BarkConfig(
        semantic_config={**small, "block_size": 64, "input_vocab_size": pad + 2, "output_vocab_size": CODES},
        coarse_acoustics_config={
            **small, "block_size": 64, "input_vocab_size": coarse_pad + 2, "output_vocab_size": coarse_pad + 2,
        },
        fine_acoustics_config={
            **small, "block_size": 32, "input_vocab_size": CODES + 1, "output_vocab_size": CODES + 1,
            "n_codes_total": 4, "n_codes_given": 1,
        },
        codec_config=codec.to_dict(),
    )  # fmt: skip
    model = spread(library.BarkModel(config))
    for layer in model.codec_model.quantizer.layers:
        layer.codebook.embed.normal_()  # fresh ones are zero: every code would sound alike
    save(folder, words, model)
    write_json(
        folder / "generation_config.json",
        {
            "model_type": "bark",
            "sample_rate": 800,
            "codebook_size": CODES,
            "semantic_config": {
                "eos_token_id": SAID, "max_new_tokens": 12, "text_encoding_offset": offset, "text_pad_token": pad,
                "semantic_infer_token": pad + 1, "semantic_vocab_size": SAID, "max_input_semantic_length": 16,
                "semantic_rate_hz": 50.0, "do_sample": True,
            },
            "coarse_acoustics_config": {
                "coarse_semantic_pad_token": coarse_pad, "coarse_infer_token": coarse_pad + 1, "coarse_rate_hz": 75,
                "n_coarse_codebooks": 2, "max_coarse_input_length": 16, "max_coarse_history": 24,
                "sliding_window_len": 8, "do_sample": True,
            },
            "fine_acoustics_config": {
                "max_fine_history_length": 16, "max_fine_input_length": 32, "n_fine_codebooks": 4,
            },
        },
    )  # fmt: skip
    drawn = np.random.default_rng(0)
    prompts = {
        "semantic_prompt": drawn.integers(0, SAID, 20),
        "coarse_prompt": drawn.integers(0, CODES, (2, 30)),
        "fine_prompt": drawn.integers(0, CODES, (4, 30)),
    }
    listed = {name: f"speaker_embeddings/{PRESET}_{name}.npy" for name in prompts}
    for name, array in prompts.items():
        file = folder / listed[name]
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array)
    write_json(folder / "speaker_embeddings_path.json", {"repo_or_path": "tests/bark", PRESET: listed})


def csm(folder: Path) -> None:
    """CSM of 4 codebooks, with a codec as long as the published one's, which its processor reckons with."""
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|AUDIO|>", "<|audio_eos|>", "<|pad|>"]
    words = tokenizers.byte_level(specials, bos_token="<|begin_of_text|>", pad_token="<|pad|>")
    codec = library.MimiConfig(
        hidden_size=16,
        num_filters=2,
        codebook_size=64,
        codebook_dim=8,
        vector_quantization_hidden_dimension=8,
        num_quantizers=4,
        upsample_groups=16,
        num_hidden_layers=1,
        intermediate_size=32,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
    )
    config = library.CsmConfig(
        num_codebooks=4,
        vocab_size=64,
        text_vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=4,
        codebook_pad_token_id=63,
        codebook_eos_token_id=0,
        bos_token_id=0,
        audio_token_id=2,
        audio_eos_token_id=3,
        depth_decoder_config={
            "num_codebooks": 4, "backbone_hidden_size": 32, "vocab_size": 64, "hidden_size": 16,
            "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
            "max_position_embeddings": 8,
        },
        codec_config=codec.to_dict(),
    )  # fmt: skip
    model = spread(library.CsmForConditionalGeneration(config))
    model.generation_config.update(do_sample=True, max_new_tokens=6)
    extractor = library.EncodecFeatureExtractor(feature_size=1, sampling_rate=24000)
    save(folder, library.CsmProcessor(extractor, words, chat_template=CSM_TEMPLATE), model)


def dia(folder: Path) -> None:
    """Dia of one layer, with a codec of its own in `audio_tokenizer/`; its marks and delays are the published ones."""
    small = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 64, "head_dim": 16}
    config = library.DiaConfig(
        encoder_config={
            **small, "max_position_embeddings": 256, "num_attention_heads": 2, "num_key_value_heads": 2,
        },
        decoder_config={
            **small, "max_position_embeddings": 256, "num_attention_heads": 2, "num_key_value_heads": 1,
            "cross_num_attention_heads": 2, "cross_head_dim": 16, "cross_num_key_value_heads": 2,
            "cross_hidden_size": 32,
        },
    )  # fmt: skip
    codec = library.DacModel(
        library.DacConfig(
            encoder_hidden_size=4,
            downsampling_ratios=[2, 4],
            decoder_hidden_size=16,
            n_codebooks=9,
            codebook_size=1024,
            codebook_dim=4,
            sampling_rate=44100,
        )
    )
    model = spread(library.DiaForConditionalGeneration(config))
    model.generation_config.update(
        max_length=40, guidance_scale=3.0, do_sample=True, temperature=1.8, top_k=45, bos_token_id=1026,
        pad_token_id=1025, eos_token_id=1024, decoder_start_token_id=1026,
    )  # fmt: skip
    extractor = library.DiaFeatureExtractor(feature_size=1, sampling_rate=44100, hop_length=8)
    save(folder, library.DiaProcessor(extractor, library.DiaTokenizer(), codec), model)
    codec.save_pretrained(folder / "audio_tokenizer")


FAMILIES: dict[str, Callable[[Path], None]] = {"bark": bark, "csm": csm, "dia": dia}
