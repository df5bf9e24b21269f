import pytest

from modelyard.records.precision import find_precision, of_precision


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], None),
        (["model.safetensors"], None),
        (["model.fp16.safetensors"], "fp16"),
        (["model.fp16.safetensors", "model.safetensors"], None),
        (["model.fp16.safetensors", "model-00001-of-00002.safetensors"], None),
        (["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"], "fp16"),
        (["model.bf16.safetensors", "model.fp16.safetensors", "model.fp32.safetensors"], "fp32"),
        (["model.non_ema.safetensors", "model.ema.safetensors"], "ema"),
        (["model.fp16.bin", "other.fp16.safetensors", "model.fp16.safetensors.index.json"], None),
    ],
)
def test_the_precision_is_told_by_names_where_no_plain_ones_are(names: list[str], found: str | None) -> None:
    assert find_precision(names, "model") == found


def test_the_files_of_a_precision_are_all_its_parts() -> None:
    parts = ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"]

    assert of_precision([*reversed(parts), "model.bf16.safetensors", "config.json"], "model", "fp16") == parts
