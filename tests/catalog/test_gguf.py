"""GGUF models in the catalogue: which files make one, what its header says of it, and what is fetched for it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelyard.catalog import library
from modelyard.catalog.cards import make_card
from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.catalog.found import Found
from modelyard.catalog.gguf_files import choose_gguf_model, find_gguf_models, find_projector
from modelyard.catalog.hub import Hub
from modelyard.catalog.index import listing_of
from modelyard.catalog.inspection import inspect_folder
from modelyard.errors import InvalidRequest, ModelRefused, UnknownModel
from modelyard.records.models import Inspection, Source
from tests.builders.gguf import BERT, LLAMA, gguf_file
from tests.catalog.models import Files, model, write
from tests.hub.server import HubServer, Repo

CHAT = {**LLAMA, "tokenizer.chat_template": "{{ messages }}"}
SPLIT = [f"m-Q4_K_M-{part:05}-of-00003.gguf" for part in (1, 2, 3)]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["m-Q4_K_M.gguf", "m-Q8_0.gguf", "README.md"], ["Q4_K_M", "Q8_0"]),
        (["m.q4_k_m.gguf", "m.f16.gguf", "M-BF16.gguf"], ["BF16", "F16", "Q4_K_M"]),
        (["m-UD-Q2_K_XL.gguf", "m-IQ4_XS.gguf", "m-MXFP4_MOE.gguf"], ["IQ4_XS", "MXFP4_MOE", "UD-Q2_K_XL"]),
        (["model.gguf"], ["model"]),
        (["mmproj-m-F16.gguf", "m-mmproj-f16.gguf", "m-imatrix.gguf", "m-Q8_0.gguf"], ["Q8_0"]),
        (["BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"], ["BF16"]),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], ["Q8_0", "b-Q8_0"]),
        (["model.safetensors"], []),
    ],
)
def test_files_are_told_apart_by_their_quantisation(names: list[str], labels: list[str]) -> None:
    assert [each.label for each in find_gguf_models(dict.fromkeys(names, 1))] == labels


@pytest.mark.parametrize(
    ("labels", "asked", "chosen"),
    [
        (["F16", "Q4_K_M", "Q8_0"], None, "Q4_K_M"),
        (["F16", "Q4_0", "Q8_0"], None, "Q4_0"),
        (["F16", "Q3_K_S"], None, "F16"),
        (["F16", "Q8_0"], "q8_0", "Q8_0"),
        (["F16", "Q8_0"], "Q4_0", None),
    ],
)
def test_a_label_chooses_in_any_case_and_none_means_the_preferred(
    labels: list[str], asked: str | None, chosen: str | None
) -> None:
    sizes = {f"m-{label}.gguf": 1000 if label == "F16" else 10 for label in labels}

    found = choose_gguf_model(find_gguf_models(sizes), asked)

    assert (found and found.label) == chosen


def test_of_several_projectors_the_one_in_16_bits_belongs_to_a_model() -> None:
    assert find_projector({"mmproj-m-BF16.gguf": 1, "mmproj-m-F16.gguf": 1, "m-Q8_0.gguf": 1}) == "mmproj-m-F16.gguf"


def test_a_folder_is_described_from_the_header(tmp_path: Path) -> None:
    content = gguf_file({**CHAT, "general.license": "mit"})

    found = inspect_folder(write(tmp_path / "m", {"m-Q8_0.gguf": content}))

    assert found == Inspection(
        task="chat",
        architecture="llama",
        library="gguf",
        parameters=128,
        weight_bytes=len(content),
        dtype="Q8_0",
        max_length=2048,
        license="mit",
        weight_files=("m-Q8_0.gguf",),
        labels=("Q8_0",),
        token_bytes=2 * 2 * (16 + 16) * 2,
    )
    assert found.runtime == "gguf"


@pytest.mark.parametrize(
    ("values", "readme", "task"),
    [
        (LLAMA, None, "text-generation"),
        (CHAT, None, "chat"),
        (CHAT, "image-text-to-text", "chat"),
        (BERT, None, "feature-extraction"),
        (BERT, "sentence-similarity", "sentence-similarity"),
        ({**LLAMA, "llama.pooling_type": 3}, "text-generation", "feature-extraction"),
        ({**BERT, "bert.pooling_type": 4}, None, "text-ranking"),
    ],
)
def test_the_task_follows_from_the_header(tmp_path: Path, values: dict, readme: str | None, task: str) -> None:
    files = {"m.gguf": gguf_file(values)}
    if readme:
        files["README.md"] = f"---\npipeline_tag: {readme}\n---\n".encode()

    assert inspect_folder(write(tmp_path / "m", files)).task == task


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"m-Q8_0.gguf": b"x"}, "cannot be loaded: m-Q8_0.gguf is not a GGUF file"),
        ({"m-Q8_0.gguf": gguf_file()[:200]}, "cannot be loaded: m-Q8_0.gguf is cut off"),
        ({SPLIT[0]: gguf_file(), SPLIT[2]: gguf_file()}, "is not complete: of Q4_K_M there are 2 files, not 3"),
        ({"m.gguf": gguf_file({**LLAMA, "general.type": "adapter"})}, "is a part of a model"),
        ({"m.gguf": gguf_file({"general.architecture": "llama"})}, "has no vocabulary"),
        ({"m.gguf": gguf_file({"tokenizer.ggml.tokens": ["a"]})}, "has no general.architecture"),
    ],
)
def test_what_cannot_be_served_says_why(tmp_path: Path, files: Files, words: str) -> None:
    assert words in (inspect_folder(write(tmp_path / "m", files)).problem or "")


def test_without_llama_cpp_the_command_is_said_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "is_installed", lambda name: name != "xllamacpp")

    assert inspect_folder(write(tmp_path / "m", {"m.gguf": gguf_file(CHAT)})).problem == (
        "is in a GGUF file, for which llama.cpp is not installed here; "
        "run `pip install 'modelyard[gguf]'` where the server is installed and start it again"
    )


async def test_a_model_that_lacked_llama_cpp_is_read_anew_once_it_is_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "a" / "m", {"m.gguf": gguf_file(CHAT)})
    stamps: dict[str, str | None] = {"a/m": None}
    served = []
    for installed in (False, True, True):
        monkeypatch.setattr(library, "is_installed", lambda name, here=installed: here or name != "xllamacpp")
        catalog = Catalog(Folders([root]))
        for changed in await catalog.survey(stamps):
            assert changed.card is not None
            stamps["a/m"] = changed.stamp
            served.append(changed.card.inspection.problem is None)
        await catalog.aclose()

    assert served == [False, True]


def test_parts_are_one_model(tmp_path: Path) -> None:
    head, tail = gguf_file(CHAT), gguf_file({}, [("b", (64,), 0)])

    found = inspect_folder(write(tmp_path / "m", {SPLIT[0]: head, SPLIT[1]: tail, SPLIT[2]: tail}))

    assert found.problem is None
    assert found.weight_files == tuple(SPLIT)
    assert found.parameters == 128 + 2 * 64


def test_memory_is_planned_with_the_whole_context(tmp_path: Path) -> None:
    found = Found("a/m", Source.FOLDER, inspect_folder(write(tmp_path / "m", {"m.gguf": gguf_file()})))

    short, whole = make_card(found, context_tokens=1000), make_card(found, context_tokens=0)

    assert (short.inspection.max_length, whole.inspection.max_length) == (1000, 2048)
    assert whole.memory_bytes - short.memory_bytes == 1048 * 256


async def test_a_name_chooses_one_file_of_a_folder(root: Path) -> None:
    write(root / "a" / "m", {"m-Q8_0.gguf": gguf_file(), "m-F16.gguf": gguf_file(CHAT)})
    write(root / "a" / "both", {**model(), "m-Q8_0.gguf": gguf_file(CHAT)})
    catalog = Catalog(Folders([root]))

    assert (await catalog.get("a/m")).inspection.weight_files == ("m-Q8_0.gguf",)
    assert (await catalog.get("a/m:f16")).task == "chat"
    assert (await catalog.get("a/both")).inspection.runtime == "transformers"
    assert (await catalog.get("a/both:Q8_0")).inspection.runtime == "gguf"
    with pytest.raises(UnknownModel, match=r"a/m has no file Q4_K_M; there are F16, Q8_0\.") as unknown:
        await catalog.get("a/m:Q4_K_M")
    assert unknown.value.data["nearest"] == ["a/m:F16", "a/m:Q8_0"]
    with pytest.raises(InvalidRequest):
        await catalog.get("a/m:../x")
    assert list(await catalog.folder_ids()) == ["a/both", "a/m"]
    await catalog.aclose()


async def test_of_a_repository_only_the_chosen_file_is_fetched(server: HubServer, hub: Hub) -> None:
    wanted = {"m-Q8_0.gguf": gguf_file(CHAT), "mmproj-m-F16.gguf": b"projector", "README.md": b"# m"}
    server.repos["acme/m"] = Repo({**wanted, "m-F16.gguf": gguf_file(), "m-Q4_0.gguf": gguf_file(), "x.png": b"x"})

    found = await hub.find("acme/m:q8_0")
    folder = await hub.fetch("acme/m:q8_0", found.revision if found else None)

    assert found is not None
    assert found.inspection.task == "chat"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted
    assert listing_of(make_card(found), datetime.now(UTC)).variant_of == "acme/m"
    again = await hub.find("acme/m:q8_0")
    assert again is not None
    assert again.path == folder


async def test_a_file_that_a_repository_lacks_is_unknown(server: HubServer, hub: Hub, root: Path) -> None:
    server.repos["acme/m"] = Repo({"m-Q8_0.gguf": gguf_file(CHAT)})
    catalog = Catalog(Folders([root]), hub)

    with pytest.raises(UnknownModel, match="acme/m has no file Q2_K; there are Q8_0"):
        await catalog.get("acme/m:Q2_K")
    await catalog.aclose()


async def test_parts_that_are_missing_are_found_before_anything_is_fetched(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo({SPLIT[0]: gguf_file(CHAT), SPLIT[1]: gguf_file({})})

    found = await hub.find("acme/m")

    assert found is not None
    assert "is not complete: of Q4_K_M there are 2 files, not 3" in (found.inspection.problem or "")
    with pytest.raises(ModelRefused, match="not complete"):
        await hub.fetch("acme/m")
    assert server.count(r"\.gguf$") == 0
