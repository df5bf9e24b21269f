"""Tiny models in every quantised form that is served, made by the libraries themselves, and their answers compared.

`python -m tests.builders.quantised FOLDER FORM ...` makes FOLDER/quantised/FORM, in a process of its own: the libraries
are no part of the environment that other tests run in, since every process that imports transformers would import one
of them. With `--compare` it loads each as a worker does and prints, as JSON, form → figures (`Figures`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PACKAGES = Path(sys.prefix) / "quantisation-packages"
"""Where `make setup` puts the libraries."""
ORG = "quantised"
COMPARE, JUDGE, REAL = "--compare", "--judge", "--real"
PLAIN, PLAIN_EXPERTS = "plain", "plain-experts"
"""The models of 32 bits of which the forms are made."""
IN_BF16 = "in-bf16"


@dataclass(frozen=True)
class Figures:
    """How a form's logits, as a worker computes them, differ: from those of the library called directly, from those of
    the model of 32 bits, relative to their spread; and between a row of a batch and the same text alone, greatest.

    `tokens`: what it writes, greedily; `direct_tokens`: what the library called directly does.
    """

    to_library: float
    to_plain: float
    to_batch: float
    tokens: list[int]
    direct_tokens: list[int]


def environment() -> dict[str, str]:
    """That of a process which finds the libraries as if they were installed."""
    assert PACKAGES.is_dir(), f"{PACKAGES} is not there; `make setup` installs it"
    paths = [os.environ.get("PYTHONPATH", ""), str(PACKAGES)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def make(folder: Path, *forms: str) -> None:
    """Makes these forms in `folder`/quantised."""
    run(folder, *forms)


def compare(folder: Path, *forms: str) -> dict[str, Figures]:
    """The same, and the figures of each form."""
    return {form: Figures(**figures) for form, figures in json.loads(run(folder, COMPARE, *forms)).items()}


def judge_real(folder: Path, *forms: str) -> dict[str, dict[str, float]]:
    """Makes these forms of SmolLM2-135M in `folder`/quantised, beside the original. How much worse each reads texts:
    form → figure of `runtimes.quality` → value."""
    judged: dict[str, dict[str, float]] = json.loads(run(folder, REAL, JUDGE, *forms))
    return judged


def run(folder: Path, *options: str) -> str:
    """What this module prints as a program."""
    command = [sys.executable, "-m", __name__, str(folder), *options]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return (done.stdout.strip().splitlines() or [""])[-1]


def main(folder: Path, *options: str) -> None:
    """Runs as a program."""
    import torch

    torch.set_num_threads(1)
    models = folder / ORG
    if REAL in options:
        copy_real(models / PLAIN)
    else:
        make_plain(models / PLAIN)
        make_plain_experts(models / PLAIN_EXPERTS)
    forms = [form for form in FORMS if form in options]
    for form in forms:
        FORMS[form](models, models / form)
    if COMPARE in options:
        print(json.dumps({form: asdict(measure(models, form)) for form in forms}))
    if JUDGE in options:
        print(json.dumps({form: judge(models, form) for form in forms}))


# --- making ---


def make_plain(folder: Path) -> None:
    """A Llama of 2 layers, wide enough for groups of 128."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = chat_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    save(folder, tokenizer, spread(LlamaForCausalLM(config)))


def copy_real(folder: Path) -> None:
    """Puts SmolLM2-135M-Instruct there, in 32 bits, and beside it with files of 16."""
    import shutil

    import torch
    from transformers import AutoModelForCausalLM

    from tests.builders import real

    shutil.copytree(real.smollm2(), folder)
    in_bf16 = folder.with_name(IN_BF16)
    copy_rest(folder, in_bf16)
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(in_bf16)


def make_plain_experts(folder: Path) -> None:
    """A GPT-OSS of 2 layers with 4 experts."""
    import torch
    from transformers import GptOssConfig, GptOssForCausalLM

    tokenizer = chat_tokenizer()
    config = GptOssConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_local_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=256,
        sliding_window=32,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    save(folder, tokenizer, spread(GptOssForCausalLM(config)))


def chat_tokenizer() -> Any:
    """That of the tiny chat model."""
    from tests.builders import tokenizers
    from tests.builders.families import CHAT_TEMPLATE

    marks = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    tokenizer = tokenizers.byte_fallback(
        ["<unk>", "<s>", "</s>", *marks], unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def save(folder: Path, tokenizer: Any, model: Any) -> None:
    """Writes both as a published repository would hold them."""
    from tests.builders.families import save as save_both

    save_both(folder, tokenizer, model)


def spread(model: Any) -> Any:
    """The model with weights that tell texts apart, and still small enough for errors to stay what they are."""
    from tests.builders.families import spread as spread_weights

    return spread_weights(model, 0.08)


def copy_rest(plain: Path, folder: Path) -> dict[str, Any]:
    """Puts all but the weights of the plain model into `folder`; its config."""
    import shutil

    shutil.copytree(plain, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    config: dict[str, Any] = json.loads((plain / "config.json").read_bytes())
    return config


def by_transformers(make_config: Callable[[], Any]) -> Callable[[Path, Path], None]:
    """Quantised as the model library does it while it loads, and saved by it."""

    def make_form(models: Path, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        copy_rest(models / PLAIN, folder)
        model = AutoModelForCausalLM.from_pretrained(
            models / PLAIN, quantization_config=make_config(), dtype=torch.float32, device_map="cpu"
        )
        model.save_pretrained(folder)

    return make_form


def bitsandbytes(**settings: Any) -> Any:
    """Settings of bitsandbytes."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(**settings)


def torchao(kind: str, **settings: Any) -> Any:
    """Settings of torchao. Widths are named as torch names types."""
    import torch
    import torchao.quantization as library
    from transformers import TorchAoConfig

    types = {name: getattr(torch, value) for name, value in settings.items()}
    return TorchAoConfig(getattr(library, kind)(**types))


def compressed_tensors(preset: str) -> Callable[[Path, Path], None]:
    """Quantised by the nearest values, as the library compresses them."""

    def make_form(models: Path, folder: Path) -> None:
        from compressed_tensors.compressors import ModelCompressor
        from compressed_tensors.quantization import (
            QuantizationConfig,
            QuantizationStatus,
            apply_quantization_config,
            preset_name_to_scheme,
        )
        from compressed_tensors.quantization.utils import calculate_qparams
        from safetensors.torch import save_file
        from transformers import AutoModelForCausalLM

        copy_rest(models / PLAIN, folder)
        model = AutoModelForCausalLM.from_pretrained(models / PLAIN)
        groups = {"group_0": preset_name_to_scheme(preset, ["Linear"])}
        apply_quantization_config(model, QuantizationConfig(config_groups=groups, ignore=["lm_head"]))
        for module in model.modules():
            if scheme := getattr(module, "quantization_scheme", None):
                least, most = ranges(module.weight.data, scheme.weights)
                scale, zero = calculate_qparams(least, most, scheme.weights)
                module.weight_scale.data.copy_(scale.reshape(module.weight_scale.shape))
                module.weight_zero_point.data.copy_(zero.reshape(module.weight_zero_point.shape))
                if hasattr(module, "input_scale"):
                    module.input_scale.data.fill_(0.02)
                module.quantization_status = QuantizationStatus.FROZEN
        compressor = ModelCompressor.from_pretrained_model(model)
        compressor.compress_model(model)
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        model.config.save_pretrained(folder)
        compressor.update_config(str(folder))

    return make_form


def ranges(weights: Any, settings: Any) -> tuple[Any, Any]:
    """The least and the greatest value of what shares a scale."""
    if settings.strategy == "group":
        groups = weights.reshape(weights.shape[0], -1, settings.group_size)
        return groups.amin(-1), groups.amax(-1)
    if settings.strategy == "channel":
        return weights.amin(-1, keepdim=True), weights.amax(-1, keepdim=True)
    return weights.min().reshape(1), weights.max().reshape(1)


def fp8(models: Path, folder: Path) -> None:
    """Blocks of 32 x 32 with a scale each; what is no matrix of a layer is in bf16, as it is published."""
    import torch
    from safetensors.torch import load_file, save_file

    block, greatest = 32, 448.0
    config, tensors = copy_rest(models / PLAIN, folder), {}
    for name, weights in load_file(models / PLAIN / "model.safetensors").items():
        if weights.dim() == 2 and "layers" in name:
            rows, columns = weights.shape
            scale = weights.reshape(rows // block, block, columns // block, block).abs().amax((1, 3)) / greatest
            whole = scale.repeat_interleave(block, 0).repeat_interleave(block, 1)
            tensors[name] = (weights / whole).to(torch.float8_e4m3fn)
            tensors[f"{name}_scale_inv"] = scale
        else:
            tensors[name] = weights.to(torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [block, block]}
    write_config(folder, {**config, "dtype": "bfloat16", "quantization_config": settings})


def mxfp4(models: Path, folder: Path) -> None:
    """Experts in blocks of 32 values of 4 bits with an exponent each, all else in bf16, as GPT-OSS is published."""
    import torch
    from safetensors.torch import load_file, save_file

    config, tensors = copy_rest(models / PLAIN_EXPERTS, folder), {}
    values = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    values = torch.cat([values, -values])
    for name, weights in load_file(models / PLAIN_EXPERTS / "model.safetensors").items():
        if name.endswith(("gate_up_proj", "down_proj")):
            blocks = weights.transpose(1, 2).unflatten(-1, (-1, 32))
            exponents = torch.floor(torch.log2(blocks.abs().amax(-1))) - 2
            scaled = blocks / torch.exp2(exponents)[..., None]
            nearest = (scaled[..., None] - values).abs().argmin(-1).to(torch.uint8)
            tensors[f"{name}_blocks"] = (nearest[..., 0::2] | (nearest[..., 1::2] << 4)).contiguous()
            tensors[f"{name}_scales"] = (exponents + 127).to(torch.uint8)
        else:
            tensors[name] = weights.to(torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    settings = {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    write_config(folder, {**config, "dtype": "bfloat16", "quantization_config": settings})


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Writes config.json."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


FORMS: dict[str, Callable[[Path, Path], None]] = {
    "bitsandbytes-8-bit": by_transformers(lambda: bitsandbytes(load_in_8bit=True)),
    "bitsandbytes-nf4": by_transformers(lambda: bitsandbytes(load_in_4bit=True, bnb_4bit_quant_type="nf4")),
    "bitsandbytes-nf4-double": by_transformers(
        lambda: bitsandbytes(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    ),
    "bitsandbytes-fp4": by_transformers(lambda: bitsandbytes(load_in_4bit=True, bnb_4bit_quant_type="fp4")),
    "torchao-int8": by_transformers(lambda: torchao("Int8WeightOnlyConfig")),
    "torchao-int8-dynamic": by_transformers(lambda: torchao("Int8DynamicActivationInt8WeightConfig")),
    "torchao-int4": by_transformers(lambda: torchao("IntxWeightOnlyConfig", weight_dtype="int4")),
    "torchao-int4-dynamic": by_transformers(
        lambda: torchao("Int8DynamicActivationIntxWeightConfig", weight_dtype="int4")
    ),
    "torchao-float8": by_transformers(lambda: torchao("Float8WeightOnlyConfig")),
    "compressed-tensors-w8a8": compressed_tensors("W8A8"),
    "compressed-tensors-w8a16": compressed_tensors("W8A16"),
    "compressed-tensors-w4a16": compressed_tensors("W4A16"),
    "compressed-tensors-fp8": compressed_tensors("FP8"),
    "compressed-tensors-fp8-dynamic": compressed_tensors("FP8_DYNAMIC"),
    "fp8": fp8,
    "mxfp4": mxfp4,
}
"""How each form is made."""
OFTEN = ("bitsandbytes-nf4", "torchao-int8-dynamic", "compressed-tensors-w4a16", "fp8", "mxfp4")
"""What `make test` makes: one form of each library, and both that need none. `make verify` makes the others too."""


# --- comparing ---


def measure(models: Path, form: str) -> Figures:
    """The figures of one form."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    from modelyard.worker.runtimes.base import load_model

    plain = AutoModelForCausalLM.from_pretrained(models / (PLAIN_EXPERTS if form == "mxfp4" else PLAIN))
    direct = AutoModelForCausalLM.from_pretrained(models / form, dtype=torch.float32, device_map="cpu")
    if form == "fp8":
        direct.to(torch.float32)  # else the library's own layers do not fit each other
    served: Any = load_model("transformers", models / form, ("causal-lm",), device="cpu")
    ids = np.arange(1, 41).reshape(1, -1) * 7 % 250
    two = np.concatenate([ids[:, ::-1], ids])
    alone = served.forward({"input_ids": ids, "attention_mask": np.ones_like(ids)})["logits"]
    batch = served.forward({"input_ids": two, "attention_mask": np.ones_like(two)})["logits"]
    prompt = torch.from_numpy(ids[:, :8])
    with torch.no_grad():
        of_library = direct(torch.from_numpy(ids)).logits.numpy()
        of_plain = plain(torch.from_numpy(ids)).logits.numpy()
        written = direct.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False)
    given = {"input_ids": ids[:, :8], "attention_mask": np.ones_like(ids[:, :8])}
    answer = served.generate(given, {"max_new_tokens": 8, "do_sample": False}, lambda *_: False)
    return Figures(
        to_library=float(np.abs(alone - of_library).max()),
        to_plain=float(np.sqrt(np.square(alone - of_plain).mean()) / of_plain.std()),
        to_batch=float(np.abs(batch[1:] - alone).max()),
        tokens=list(answer[0][0].tokens),
        direct_tokens=written[0, 8:].tolist(),
    )


def judge(models: Path, form: str) -> dict[str, float]:
    """How the form reads the passages that 8-bit variants are judged by, beside the original."""
    from modelyard.worker.runtimes.base import load_model
    from modelyard.worker.runtimes.quality.figures import compare_words
    from modelyard.worker.runtimes.quality.judgement import encode_passages

    plain: Any = load_model("transformers", models / PLAIN, ("causal-lm",), device="cpu")
    texts = encode_passages(plain)
    wanted = [read_words(plain, text) for text in texts]
    form_model: Any = load_model("transformers", models / form, ("causal-lm",), device="cpu")
    got = [read_words(form_model, text) for text in texts]
    return {figure.name: figure.value for figure in compare_words(wanted, got, [text[1:] for text in texts])}


def read_words(model: Any, text: Any) -> Any:
    """The probabilities of each next token."""
    import numpy as np

    logits = model.forward({"input_ids": text[None], "attention_mask": np.ones_like(text[None])})["logits"][0, :-1]
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
