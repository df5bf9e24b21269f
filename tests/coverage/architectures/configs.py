"""A small config of any class of the library, by rule: its name says what a number is for, see sizes.toml."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

SIZES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("sizes.toml").read_text("utf-8"))
NOTHING: Mapping[str, Any] = {}
VOCABULARY: int = SIZES["vocabulary"]
LEVELS = ("all", "stated", "depth")
"""How much is made small, in the order in which it is tried: every number; the same, and what has no number by default
gets one; or only depths, vocabularies and lengths."""
PATCHES_A_SIDE = 8
"""Of the images that one part of a model reads: divisible by what the part after it puts together."""
_OF_TEXT = ("_token_id", "_size")
_DEPTH_ONLY = ("layer", "depth", "expert", "position", "n_ctx", "vocab")


def small_config(family: str, kind: Any, level: str, **fields: Any) -> PreTrainedConfig:
    """A config for the model class `kind` of the architecture `family`. `fields`: set so whatever the rule says."""
    return _shrink(kind.config_class or CONFIG_MAPPING[family], level, fields)


def _shrink(
    kind: type[PreTrainedConfig], level: str, fields: dict[str, Any], more: Mapping[str, Any] = NOTHING
) -> PreTrainedConfig:
    hints = {**hints_for(kind.model_type), **more}
    default = default_config(kind)
    given: dict[str, Any] = {
        name: value for name, value in hints.items() if name not in {"keep", "parts", *kind.sub_configs}
    }
    keep = set(hints.get("keep", ()))
    if isinstance(getattr(default, "num_heads", None), list | tuple):
        keep.add("embed_dim")  # which is to be divided by each of them
    for field in dataclasses.fields(kind):
        stated = _default_of(field)
        small = _small(field.name, stated, level)
        if level == "stated" and getattr(default, field.name, None) is None:
            small = SIZES["exact"].get(field.name)
        if small is not None and small != stated and field.name not in {*hints, *keep}:
            given[field.name] = small
    heads = (vars(default or kind).get(name) for name in ("num_key_value_heads", "num_attention_heads"))
    if "num_key_value_heads" in given and len(set(heads)) == 1:  # what shares none of them by default, often cannot
        given["num_key_value_heads"] = given.get("num_attention_heads", SIZES["exact"]["num_attention_heads"])
    if isinstance(getattr(default, "patch_size", None), int) and "image_size" in fields:
        side = fields["image_size"] * given.get("patch_size", default.patch_size)
        given["image_size"] = [side, side] if isinstance(getattr(default, "image_size", None), list) else side
    if "rope_parameters" not in hints and turns_places(kind):
        given["rope_parameters"] = rope_parameters(default, given)
    for name, part in parts_of(default, kind, hints).items():
        reads_text = "vocab_size" in {field.name for field in dataclasses.fields(part)}
        inner = {field: value for field, value in fields.items() if field.endswith(_OF_TEXT)} if reads_text else {}
        if (
            name == "vision_config"
            and level != "depth"
            and "image_size" not in hints.get(name, NOTHING)
            and getattr(default, "text_config", None) is not None
        ):
            inner = {"image_size": PATCHES_A_SIDE}
        given[name] = _shrink(part, level, inner, hints.get(name, NOTHING))
    side = getattr(given.get("vision_config"), "image_size", None)
    if isinstance(side, int) and getattr(default, "image_grid_pinpoints", None):
        given["image_grid_pinpoints"] = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
    if getattr(default, "use_timm_backbone", False) or _holds_timm(default):
        given |= {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None}
        given["backbone_config"] = _shrink(CONFIG_MAPPING["resnet"], level, {})
    for name in {"layer_types", "layers_block_type"} & {
        field.name for field in dataclasses.fields(kind)
    } - hints.keys():
        types = list(dict.fromkeys(getattr(default, name, None) or ()))
        if len(types) > 1:
            given |= {name: types, "num_hidden_layers": len(types)}  # one layer of each kind
    taken = {name: value for name, value in fields.items() if name != "image_size" and _takes(kind, default, name)}
    return kind(**(given | taken))


def turns_places(kind: type[PreTrainedConfig]) -> bool:
    """Whether models of this config turn the places of images by sections that the config states."""
    if "mrope_section" in getattr(kind, "ignore_keys_at_rope_validation", ()):
        return True
    models = sys.modules.get(kind.__module__.replace(".configuration_", ".modeling_"))
    return models is not None and "mrope_section" in inspect.getsource(models)


def rope_parameters(default: Any, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the config states, with sections that are together half of what is turned of a head."""
    stated = getattr(default, "rope_parameters", None)
    if not stated or stated.get("rope_type") != "default":
        return stated
    width = given.get("head_dim") or given["hidden_size"] // given["num_attention_heads"]
    half = int(width * stated.get("partial_rotary_factor", 1.0)) // 2
    side = 3 * half // 8
    return {**stated, "mrope_section": [half - 2 * side, side, side]}


def _holds_timm(config: Any) -> bool:
    """Whether a model's backbone is of a library that is not installed by default."""
    return getattr(getattr(config, "backbone_config", None), "model_type", None) == "timm_backbone"


def hints_for(family: str) -> dict[str, Any]:
    """What sizes.toml says of one family: fields, and under `parts` the families of its parts."""
    return dict(SIZES["families"].get(family, {}))


def parts_of(default: Any, kind: type[PreTrainedConfig], hints: dict[str, Any]) -> dict[str, type[PreTrainedConfig]]:
    """The classes of the configs that a config holds, by field."""
    named = {name: CONFIG_MAPPING[family] for name, family in hints.get("parts", {}).items()}
    values = {} if default is None else vars(default)
    return {
        name: type(values[name]) for name in kind.sub_configs if isinstance(values.get(name), PreTrainedConfig)
    } | named


@cache
def default_config(kind: type[PreTrainedConfig]) -> PreTrainedConfig | None:
    """What the class makes of nothing; None where it cannot."""
    try:
        return kind()
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def _takes(kind: type[PreTrainedConfig], default: Any, name: str) -> bool:
    if name == "decoder_start_token_id":
        return bool(getattr(default, "is_encoder_decoder", False))
    return name in {field.name for field in dataclasses.fields(kind)} or hasattr(default, name)


def _small(name: str, value: Any, level: str) -> Any:
    """A small value for a field, None where its own is small enough or no size."""
    if isinstance(value, bool):
        return None
    if isinstance(value, list | tuple):
        return _small_list(name, value, level)
    if not isinstance(value, int) or value <= 1:
        return None
    if name.endswith("vocab_size") and value > VOCABULARY:
        return VOCABULARY
    if name.endswith(("_token_id", "_token_index", "_id", "_index")):
        return value if value < VOCABULARY else VOCABULARY - 1 - sum(map(ord, name)) % 32
    if "kernel" in name or "stride" in name or "ratio" in name or "factor" in name:
        return None
    if level == "depth" and not any(word in name for word in _DEPTH_ONLY):
        return None
    exact = SIZES["exact"].get(name)
    if exact is not None:
        return min(exact, value)
    words = SIZES["words"]
    if any(word in name for word in words["depths"]):
        return min(value, 2)
    if any(word in name for word in words["widths"]) and value > SIZES["width"]:
        return SIZES["width"]
    return None


def _small_list(name: str, values: list[Any] | tuple[Any, ...], level: str) -> Any:
    if not values or not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return None
    if name in SIZES["lists"]["depths"]:
        return [1] * len(values)
    if level == "depth" or min(values) <= 16 or not any(word in name for word in (*SIZES["words"]["widths"], "embed")):
        return None
    divisor = 1
    while min(values) // (2 * divisor) >= 16 and all(value % (2 * divisor) == 0 for value in values):
        divisor *= 2
    return [value // divisor for value in values]
