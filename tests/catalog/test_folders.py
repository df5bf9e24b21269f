import os
from pathlib import Path

import pytest

from modelyard.catalog.folders import Folders
from modelyard.errors import InvalidRequest
from tests.catalog.models import model, write


def settle(path: Path) -> None:
    """As if the directory had last changed a minute ago."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 60 * 10**9))


def test_models_of_all_directories_are_listed_by_id(tmp_path: Path) -> None:
    write(tmp_path / "a" / "zoo" / "one", model())
    write(tmp_path / "b" / "acme" / "two", model())
    folders = Folders([tmp_path / "a", tmp_path / "b", tmp_path / "absent"])

    assert folders.ids() == ["acme/two", "zoo/one"]
    assert [found.model_id for found in folders.list()] == ["acme/two", "zoo/one"]


def test_the_first_directory_wins(tmp_path: Path) -> None:
    write(tmp_path / "a" / "acme" / "m", model(parameters=10))
    write(tmp_path / "b" / "acme" / "m", model(parameters=20))

    found = Folders([tmp_path / "b", tmp_path / "a"]).find("acme/m")

    assert found is not None
    assert found.path == tmp_path / "b" / "acme" / "m"
    assert found.inspection.parameters == 20


def test_a_new_folder_is_seen_at_once(root: Path) -> None:
    folders = Folders([root])
    assert folders.ids() == []
    assert folders.find("acme/new") is None

    write(root / "acme" / "new", model())

    assert folders.find("acme/new") is not None
    assert folders.ids() == ["acme/new"]


def test_a_new_folder_is_seen_in_a_directory_that_had_settled(root: Path) -> None:
    write(root / "acme" / "old", model())
    settle(root / "acme")
    settle(root)
    folders = Folders([root])
    assert folders.ids() == ["acme/old"]

    write(root / "acme" / "new", model())

    assert folders.ids() == ["acme/new", "acme/old"]


def test_the_list_of_ids_is_the_same_object_while_nothing_changes(root: Path) -> None:
    write(root / "acme" / "m", model())
    folders = Folders([root])
    ids = folders.ids()
    assert folders.ids() is ids

    write(root / "acme" / "n", model())

    assert folders.ids() == ["acme/m", "acme/n"]
    assert ids == ["acme/m"]


def test_a_stamp_changes_with_the_files_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "acme" / "m", model())
    (tmp_path / "b" / "acme" / "empty").mkdir(parents=True)
    folders = Folders([tmp_path / "b", tmp_path / "a"])
    stamp = folders.stamp("acme/m")
    assert stamp is not None
    assert folders.stamp("acme/m") == stamp
    assert folders.stamp("acme/empty") is None
    assert folders.stamp("acme/none") is None

    write(path, {"README.md": b"new"})

    assert folders.stamp("acme/m") != stamp


def test_a_changed_file_is_inspected_again(root: Path) -> None:
    path = write(root / "acme" / "m", model(parameters=10))
    folders = Folders([root])
    before = folders.find("acme/m")
    assert folders.find_known("acme/m") == before

    write(path, {"model.safetensors": model(parameters=30)["model.safetensors"]})

    assert folders.find_known("acme/m") is None
    after = folders.find("acme/m")
    assert after is not None
    assert after.inspection.parameters == 30


def test_an_unchanged_folder_is_inspected_once(root: Path) -> None:
    write(root / "acme" / "m", model())
    folders = Folders([root])

    first, second = folders.find("acme/m"), folders.find("acme/m")

    assert first is not None
    assert second is not None
    assert first.inspection is second.inspection


def test_a_removed_folder_is_gone(root: Path) -> None:
    path = write(root / "acme" / "m", model())
    folders = Folders([root])
    assert folders.find("acme/m") is not None

    path.rename(root / "elsewhere")

    assert folders.find("acme/m") is None
    assert folders.find_known("acme/m") is None


def test_an_empty_folder_is_no_model(root: Path) -> None:
    (root / "acme" / "empty").mkdir(parents=True)

    assert Folders([root]).find("acme/empty") is None


def test_a_model_may_be_a_link(root: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "elsewhere", model())
    (root / "acme").mkdir()
    (root / "acme" / "linked").symlink_to(target)

    found = Folders([root]).find("acme/linked")

    assert found is not None
    assert found.inspection.problem is None


def test_links_to_nowhere_and_hidden_folders_do_no_harm(root: Path) -> None:
    path = write(root / "acme" / "m", model())
    (path / "gone.bin").symlink_to(path / "nothing")
    (path / "loop").symlink_to(path / "loop")
    write(root / ".cache" / "m", model())

    folders = Folders([root])

    assert folders.ids() == ["acme/m"]
    found = folders.find("acme/m")
    assert found is not None
    assert found.inspection.problem is None


@pytest.mark.parametrize(
    "model_id",
    [
        "../etc",
        "acme/..",
        "..",
        "/etc/passwd",
        "acme//m",
        "acme/../../m",
        "acme",
        "acme/m/x",
        "acme\\m",
        "acme/m\n",
        "./m",
    ],
)
def test_path_tricks_are_refused(root: Path, model_id: str) -> None:
    folders = Folders([root])

    with pytest.raises(InvalidRequest):
        folders.find(model_id)
    with pytest.raises(InvalidRequest):
        folders.find_known(model_id)
