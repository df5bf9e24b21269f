import re
from pathlib import Path

import pytest

from modelyard.catalog.foreign import MODULES, Foreign, read_formats
from modelyard.catalog.hub import Hub
from modelyard.catalog.inspection import inspect_folder
from tests.catalog.models import Files, diffusers, model, sentence_transformer, text, write
from tests.hub.server import HubServer, Repo

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs/reference/formats.md"
FORMATS = {each.what: each for each in read_formats()}
PICKLE = b"\x80\x04."


def problem_of(tmp_path: Path, files: Files) -> str:
    """Why the model in these files cannot be served; "" when nothing speaks against it."""
    return inspect_folder(write(tmp_path / "model", files)).problem or ""


def card(**facts: str) -> bytes:
    lines = "\n".join(f"{name}: {value}" for name, value in facts.items())
    return f"---\n{lines}\n---\n".encode()


def files_of(group: tuple[str, ...]) -> Files:
    """A file for each pattern."""
    names = [pattern.replace("*", "x") for pattern in group]
    return {name: b"{}" if name.endswith(".json") else PICKLE for name in names}


@pytest.mark.parametrize(("what", "library"), [(each.what, name) for each in read_formats() for name in each.libraries])
def test_the_library_that_a_card_names_is_said_with_the_way_out(tmp_path: Path, what: str, library: str) -> None:
    said = problem_of(tmp_path, {"README.md": card(library_name=library), "weights.bin": PICKLE})

    assert said == FORMATS[what].clause_of(None)


@pytest.mark.parametrize(("what", "group"), [(each.what, group) for each in read_formats() for group in each.files])
def test_files_say_what_a_model_is(tmp_path: Path, what: str, group: tuple[str, ...]) -> None:
    said = problem_of(tmp_path, {"README.md": b"", **files_of(group)})

    assert said == FORMATS[what].clause_of(None)


@pytest.mark.parametrize(("what", "group"), [(each.what, group) for each in read_formats() for group in each.files])
def test_a_model_that_loads_may_have_other_formats_beside_it(tmp_path: Path, what: str, group: tuple[str, ...]) -> None:
    said = problem_of(tmp_path, {**files_of(group), **model()})

    assert said == ("" if "SetFit" not in what else FORMATS[what].clause_of(None))


def test_a_card_that_names_another_library_stops_no_model_that_loads(tmp_path: Path) -> None:
    assert problem_of(tmp_path, model(readme=card(library_name="keras").decode())) == ""


def test_what_a_conversion_was_made_from_is_named(tmp_path: Path) -> None:
    converted = {"openvino_model.xml": b"<net/>", "openvino_model.bin": b"x", "config.json": model()["config.json"]}

    said = problem_of(tmp_path, {**converted, "README.md": card(base_model="acme/small")})

    assert said == ("is an export for OpenVINO, which Modelyard does not run; take acme/small, from which it was made")
    for odd in ("two words", "../up", "a/b/c"):
        assert problem_of(tmp_path, {**converted, "README.md": card(base_model=odd)}).endswith(
            "take the repository that it was made from"
        )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "t5", "chronos_config": {}}, "Chronos"),
        ({"d_model": 768, "ssm_cfg": {}}, "mamba_ssm"),
        ({"model_type": "llama", "quantization": {"group_size": 64, "bits": 4}}, "MLX"),
    ],
)
def test_a_config_tells_whose_model_it_is(tmp_path: Path, config: dict[str, object], words: str) -> None:
    said = problem_of(tmp_path, {**model(), "config.json": text(config)})

    assert words in said
    assert "which Modelyard does not run; " in said


@pytest.mark.parametrize(("beginning", "library"), MODULES)
def test_a_part_of_a_sentence_transformer_tells_too(tmp_path: Path, beginning: str, library: str) -> None:
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{beginning}Part"}]
    said = problem_of(tmp_path, {**sentence_transformer(), "modules.json": text(modules)})

    assert said == next(each for each in read_formats() if library in each.libraries).clause_of(None)


def test_a_module_that_is_not_run_is_named(tmp_path: Path) -> None:
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}]
    said = problem_of(tmp_path, {**sentence_transformer(), "modules.json": text(modules)})

    assert said.startswith("has the module Router of sentence-transformers, which Modelyard does not run; ")


def test_a_type_with_sound_that_is_not_run_is_named_with_those_that_are(tmp_path: Path) -> None:
    config = text({"model_type": "pocket_tts", "architectures": ["PocketTTSForConditionalGeneration"]})
    said = problem_of(tmp_path, {**model(), "config.json": config})

    assert said.startswith("is of type 'pocket_tts', which Modelyard does not run for text-to-speech; take a model of")
    assert "bark, dia, csm" in said


def test_adapters_name_their_base_however_their_card_tags_them(tmp_path: Path) -> None:
    adapter = {"adapter_config.json": text({"base_model_name_or_path": "org/base"})}

    said = problem_of(tmp_path, {**adapter, "README.md": b"---\ntags:\n- lora\n---\n"})

    assert said.startswith("is an adapter for org/base without weights")


def test_a_pipeline_of_diffusers_with_a_lora_beside_it_loads(tmp_path: Path) -> None:
    assert problem_of(tmp_path, {**diffusers(), "pytorch_lora_weights.safetensors": b""}) == ""


def test_advice_to_upgrade_is_given_only_where_it_helps(tmp_path: Path) -> None:
    of_today = problem_of(tmp_path, model("XForCausalLM", "unheard_of", config={"transformers_version": "4.40.0"}))
    of_tomorrow = problem_of(tmp_path, model("XForCausalLM", "unheard_of", config={"transformers_version": "99.1.0"}))

    assert "newer" not in of_today
    assert "upgrade" not in of_today
    assert "saved by 99.1.0" in of_tomorrow


async def test_a_repository_of_the_hub_is_told_by_what_the_hub_says(server: HubServer, hub: Hub) -> None:
    api = {"library_name": "ctranslate2", "tags": ["base_model:openai/whisper-tiny"]}
    server.repos["acme/fast"] = Repo({"model.bin": PICKLE, "config.json": text({})}, api)

    found = await hub.find("acme/fast")

    assert found is not None
    assert found.inspection.problem == (
        "is a conversion for CTranslate2 (faster-whisper), which Modelyard does not run; "
        "take openai/whisper-tiny, from which it was made"
    )


@pytest.mark.parametrize("foreign", read_formats(), ids=lambda each: each.what)
def test_the_reference_has_every_format(foreign: Foreign) -> None:
    signs = [*foreign.libraries, *(" with ".join(group) for group in foreign.files)]
    row = f"| {foreign.what} | {', '.join(f'`{sign}`' for sign in signs)} | {foreign.way_out(None)} |"

    assert row in PAGE.read_text(encoding="utf-8").splitlines()


def test_every_form_on_the_page_names_a_test_that_there_is() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## Whose answers are compared")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    named = [re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row) for row in rows]
    assert len(rows) > 25
    assert [row for row, found in zip(rows, named, strict=True) if not found] == []
    for ((file, test),) in named:
        assert f"def {test}(" in (CHECKOUT / file).read_text(encoding="utf-8"), test
