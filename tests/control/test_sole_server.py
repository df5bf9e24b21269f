from pathlib import Path

from modelyard.control.sole_server import ensure_server_id


def test_a_server_keeps_the_id_of_its_data_folder(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()

    first = ensure_server_id(one)

    assert first.startswith("srv_")
    assert ensure_server_id(one) == first
    assert ensure_server_id(other) != first
