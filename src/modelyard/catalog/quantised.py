"""Repositories whose weights are quantised: which methods run here, with which library, and what such weights take in
memory on a CPU. Reads a config and counts of values; loads nothing. The formats of other programs: `foreign`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.catalog import library
from modelyard.catalog.safetensors_header import DTYPE_BITS
from modelyard.records.quantisation import KEPT, find_method
from modelyard.units import MIB

FLOAT_BYTES = 4
"""CPUs compute in 32 bits: floating point of any width grows or shrinks to it as it is loaded."""
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
PACKED_BITS = 32
"""Of the integers into which compressed-tensors packs values."""
LOADED_TWICE = 2
"""Packed values are held as they were read and as they are computed with, while they are loaded. Measured with nf4."""
UNPACKED = {"I32": 0, "U8": 2, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1}
"""Stored type → values in one, where they become floating point; those of I32 depend on the model."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way of quantising that runs here. `module`: what is imported for it, and `extra` the optional dependencies
    that bring it, None where transformers does it alone. `kinds`: what there may be of it, None: anything.
    `import_bytes`: what the library takes in a worker, as measured."""

    name: str
    module: str | None = None
    extra: str | None = None
    kinds: frozenset[str] | None = None
    import_bytes: int = 0


METHODS = {
    "bitsandbytes": Method("bitsandbytes", module="bitsandbytes", extra="bitsandbytes", import_bytes=64 * MIB),
    "torchao": Method(
        "torchao",
        module="torchao",
        extra="torchao",
        kinds=frozenset(
            {
                "Int8WeightOnlyConfig",
                "Int8DynamicActivationInt8WeightConfig",
                "IntxWeightOnlyConfig",
                "Int8DynamicActivationIntxWeightConfig",
                "Float8WeightOnlyConfig",
            }
        ),
    ),
    "compressed-tensors": Method(
        "compressed-tensors",
        module="compressed_tensors",
        extra="compressed-tensors",
        import_bytes=16 * MIB,
        kinds=frozenset({"dense", "int-quantized", "float-quantized", "naive-quantized", "pack-quantized"}),
    ),
    "fp8": Method("fp8 in blocks"),
    "mxfp4": Method("MXFP4"),
}
"""`quant_method` in a config → what runs it. All else is refused by its name."""

NAMES = {
    "gptq": "GPTQ",
    "gptqmodel": "GPTQ",
    "awq": "AWQ",
    "auto-round": "AutoRound",
    "exl2": "EXL2",
    "exl3": "EXL3",
    "modelopt": "NVIDIA's ModelOpt",
    "nvfp4": "NVFP4",
    "aqlm": "AQLM",
    "quip": "QuIP",
    "vptq": "VPTQ",
    "spqr": "SpQR",
    "eetq": "EETQ",
    "higgs": "HIGGS",
    "hqq": "HQQ",
    "quanto": "Quanto",
    "quark": "AMD's Quark",
    "bitnet": "BitNet",
    "fbgemm_fp8": "fbgemm's fp8",
    "fp_quant": "FP-Quant",
    "fouroversix": "Four Over Six",
    "sinq": "SINQ",
    "mxfp8": "MXFP8",
    "metal": "Metal kernels for Apple processors",
    "gemma": "Gemma's own 4-bit format",
    "gguf": "GGUF",
}
"""`quant_method` → how it is called, of those that do not run here: they need kernels of one kind of GPU, or a library
that does not load here. One that is not in the list is told by its own word."""

INSTALLED = frozenset(each.module for each in METHODS.values() if each.module and library.is_installed(each.module))
"""The modules that were here when this process started: its workers come from processes that looked then, too."""


def find_settings(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a config says of how its weights are quantised; None: they are not."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        if isinstance(settings := part.get("quantization_config"), dict):
            return settings
    return None


def find_foreign_quantisation(config: Mapping[str, Any]) -> str | None:
    """What the weights are quantised with, where that does not run here; None otherwise."""
    settings = find_settings(config)
    if settings is None:
        return None
    name, kinds = find_method(settings), _kinds(settings)
    if "nvfp4" in f"{settings.get('quant_algo')} {' '.join(kinds)}".lower():
        return "NVFP4"
    method = METHODS.get(name)
    if method is None:
        return NAMES.get(name) or (repr(name) if name else "a method that its config.json does not name")
    others = sorted(kind for kind in kinds if method.kinds is not None and kind not in method.kinds)
    return f"{method.name} in the form {others[0]}" if others else None


def find_missing_extra(config: Mapping[str, Any]) -> str | None:
    """What the model lacks that one command installs: a clause to follow its name."""
    method = _method(config)
    if method is None or method.module is None or method.module in INSTALLED or not library.native_model_types():
        return None
    return f"is quantised with {method.name}, which is not installed here; {library.how_to_install(str(method.extra))}"


def find_quantisation(config: Mapping[str, Any]) -> str | None:
    """What a model's weights are quantised with that runs here, in a word; None: they are not."""
    method = _method(config)
    return method.name if method else None


def estimate_loaded_bytes(config: Mapping[str, Any], values: Mapping[str, int]) -> int | None:
    """What quantised weights take once they are loaded on a CPU, with the library that does it; None: not quantised.

    `values`: how many the files hold of each type, in safetensors' names.
    """
    method, settings = _method(config), find_settings(config)
    if method is None or settings is None:
        return None
    packed, keeps = PACKED_BITS // _packed_bits(settings), find_method(settings) in KEPT
    return method.import_bytes + sum(
        _loaded_bytes(dtype, count, packed, keeps=keeps) for dtype, count in values.items()
    )


def _loaded_bytes(dtype: str, count: int, packed: int, *, keeps: bool) -> int:
    """What so many stored values become. `packed`: values in an integer of PACKED_BITS."""
    if dtype in FLOATS:
        return FLOAT_BYTES * count
    if keeps and dtype == "U8":
        return LOADED_TWICE * count
    if keeps or dtype not in UNPACKED:
        return count * DTYPE_BITS.get(dtype, 32) // 8
    return FLOAT_BYTES * count * (packed if dtype == "I32" else UNPACKED[dtype])


def _method(config: Mapping[str, Any]) -> Method | None:
    settings = find_settings(config)
    return None if settings is None else METHODS.get(find_method(settings))


def _kinds(settings: Mapping[str, Any]) -> set[str]:
    """The forms that the settings name: of compressed-tensors its formats, of torchao the classes of its settings."""
    if find_method(settings) == "torchao":
        made_with = settings.get("quant_type")
        return {kind for kind in _classes(made_with) if kind.endswith("Config")} or {str(made_with)}
    groups = settings.get("config_groups")
    parts = [settings, settings.get("sparsity_config"), *(groups.values() if isinstance(groups, dict) else ())]
    named = {str(part["format"]) for part in parts if isinstance(part, dict) and part.get("format")}
    return named - {"mixed-precision"}  # its groups say which


def _classes(value: object) -> Iterator[str]:
    """Every class named in torchao's settings, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get("_type"), str):
            yield value["_type"]
        for each in value.values():
            yield from _classes(each)


def _packed_bits(settings: Mapping[str, Any]) -> int:
    """The width of packed values, the narrowest of all groups."""
    groups = settings.get("config_groups")
    weights = [group.get("weights") for group in groups.values() if isinstance(group, dict)] if groups else []
    widths = [each.get("num_bits") for each in weights if isinstance(each, dict)]
    return min((bits for bits in widths if isinstance(bits, int) and 0 < bits <= PACKED_BITS), default=4)
