"""What is said of quantised repositories, and what their weights are planned to take."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from modelyard.catalog import quantised
from modelyard.catalog.inspection import inspect_folder
from modelyard.catalog.memory import estimate_model_bytes
from modelyard.catalog.quantised import METHODS, NAMES
from modelyard.catalog.safetensors_header import DTYPE_BITS
from modelyard.records.models import Inspection
from modelyard.records.quantisation import find_method
from tests.catalog.models import model, write

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs/reference/formats.md"
EXTRAS = {name: method.extra for name, method in METHODS.items() if method.extra}
GROUP = {"weights": {"num_bits": 4, "type": "int"}, "format": "pack-quantized"}


def safetensors(tensors: dict[str, tuple[str, int]]) -> bytes:
    """A file of zeros: name → (type, values)."""
    header, end = {}, 0
    for name, (dtype, values) in tensors.items():
        start, end = end, end + values * DTYPE_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": [values], "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


def inspected(tmp_path: Path, settings: object, tensors: dict[str, tuple[str, int]] | None = None) -> Inspection:
    files = model(config={"quantization_config": settings})
    if tensors is not None:
        files["model.safetensors"] = safetensors(tensors)
    return inspect_folder(write(tmp_path / "model", files))


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "INSTALLED", frozenset(each.module for each in METHODS.values()))


@pytest.mark.parametrize("method", NAMES)
def test_methods_that_do_not_run_here_are_named(tmp_path: Path, method: str) -> None:
    said = inspected(tmp_path, {"quant_method": method}).problem or ""

    assert said.startswith(f"is quantised with {NAMES[method]}, which Modelyard does not run; take the repository")


def test_every_method_of_the_model_library_is_known_by_name() -> None:
    found = find_spec("transformers")
    assert found is not None
    assert found.submodule_search_locations
    source = Path(found.submodule_search_locations[0], "quantizers", "auto.py").read_text(encoding="utf-8")
    table = source[source.index("AUTO_QUANTIZER_MAPPING = {") : source.index("AUTO_QUANTIZATION_CONFIG_MAPPING = {")]
    methods = {re.sub(r"^(bitsandbytes)_[48]bit$", r"\1", name) for name in re.findall(r'"([\w-]+)":', table)}

    assert len(methods) > 20
    assert methods <= {*METHODS, *NAMES}


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"quant_method": "of_tomorrow"}, "'of_tomorrow'"),
        ({"bits": 4}, "a method that its config.json does not name"),
        ({}, "a method that its config.json does not name"),
        ({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}, "NVFP4"),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"format": "nvfp4-pack-quantized"}}}, "NVFP4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "NVFP4"),
        (
            {"quant_method": "compressed-tensors", "format": "marlin-24"},
            "compressed-tensors in the form marlin-24",
        ),
        (
            {"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse-24-bitmask"}},
            "compressed-tensors in the form sparse-24-bitmask",
        ),
        (
            {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {}}}},
            "torchao in the form Int4WeightOnlyConfig",
        ),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, "torchao in the form int4_weight_only"),
    ],
)
@pytest.mark.usefixtures("all_installed")
def test_forms_that_do_not_run_here_are_named(tmp_path: Path, settings: object, what: str) -> None:
    said = inspected(tmp_path, settings).problem or ""

    assert said.startswith(f"is quantised with {what}, which Modelyard does not run; take the repository")


@pytest.mark.parametrize("method", EXTRAS)
def test_a_library_that_is_not_here_is_said_with_the_command(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised, "INSTALLED", frozenset())
    form = {"default": {"_type": "Int8WeightOnlyConfig"}} if method == "torchao" else None

    said = inspected(tmp_path, {"quant_method": method, "quant_type": form}).problem

    assert said == (
        f"is quantised with {method}, which is not installed here; "
        f"run `pip install 'modelyard[{method}]'` where the server is installed and start it again"
    )


@pytest.mark.parametrize("extra", EXTRAS.values())
def test_every_command_that_is_given_names_an_extra_that_there_is(extra: str) -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8")

    needs = project["optional-dependencies"][extra]

    assert all(f"\n{need.split('>=')[0]}==" in pins for need in needs)


@pytest.mark.parametrize("method", [name for name, each in METHODS.items() if not each.extra])
def test_what_transformers_does_alone_needs_nothing_else(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised, "INSTALLED", frozenset())

    assert inspected(tmp_path, {"quant_method": method}).problem is None


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {"load_in_8bit": True},
        {"quant_method": "compressed-tensors", "format": "mixed-precision", "config_groups": {"a": GROUP}},
        {
            "quant_method": "torchao",
            "quant_type": {
                "default": {"_type": "Int8WeightOnlyConfig", "_data": {"granularity": {"_type": "PerRow", "_data": {}}}}
            },
        },
    ],
)
@pytest.mark.usefixtures("all_installed")
def test_what_runs_here_is_not_refused(tmp_path: Path, settings: object) -> None:
    found = inspected(tmp_path, settings)

    assert found.problem is None
    assert found.quantisation


def test_the_text_part_of_a_model_that_sees_tells_too(tmp_path: Path) -> None:
    files = model(config={"text_config": {"quantization_config": {"quant_method": "awq"}}})

    found = inspect_folder(write(tmp_path / "model", files))

    assert (found.problem or "").startswith("is quantised with AWQ,")


VALUES = 1_000_000


@pytest.mark.parametrize(
    ("settings", "dtype", "stored", "loaded_bytes"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "U8", VALUES // 2, 2 * VALUES // 2),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "I8", VALUES, VALUES),
        ({"quant_method": "torchao", "quant_type": {"_type": "Int8WeightOnlyConfig"}}, "I8", VALUES, VALUES),
        ({"quant_method": "compressed-tensors", "format": "int-quantized"}, "I8", VALUES, 4 * VALUES),
        ({"quant_method": "compressed-tensors", "format": "float-quantized"}, "F8_E4M3", VALUES, 4 * VALUES),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": GROUP}}, "I32", VALUES // 8, 4 * VALUES),
        ({"quant_method": "fp8"}, "F8_E4M3", VALUES, 4 * VALUES),
        ({"quant_method": "mxfp4"}, "U8", VALUES // 2, 4 * VALUES),
    ],
)
@pytest.mark.usefixtures("all_installed")
def test_memory_is_planned_for_what_weights_become(
    tmp_path: Path, settings: dict[str, object], dtype: str, stored: int, loaded_bytes: int
) -> None:
    other_bytes = 4 * 1000
    tensors = {"layer.weight": (dtype, stored), "norm.weight": ("BF16", 1000)}

    found = inspected(tmp_path, settings, tensors)

    library_bytes = METHODS[find_method(settings)].import_bytes
    assert found.loaded_bytes == loaded_bytes + other_bytes + library_bytes
    assert estimate_model_bytes(found) > found.loaded_bytes


def test_models_that_are_not_quantised_are_planned_as_before(tmp_path: Path) -> None:
    found = inspect_folder(write(tmp_path / "model", model()))

    assert found.loaded_bytes is None
    assert found.quantisation is None


def test_the_reference_names_every_method() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert all(name in page for name in NAMES.values())
    assert all(f"`modelyard[{extra}]`" in page for extra in EXTRAS.values())
