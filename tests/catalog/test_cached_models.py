"""What models take up on the disk, and which of them may go."""

from __future__ import annotations

import os
from pathlib import Path

from modelyard.catalog.cached_models import CachedModel, list_cached, plan_prune, remove
from tests.catalog.models import model, write

GONE = Path("/nowhere")
DAY_S = 86_400.0


def cached(model_id: str, size_bytes: int, used_at_s: float) -> CachedModel:
    return CachedModel(model_id, "hub", GONE, size_bytes, used_at_s)


OLD, NEWER, NEWEST = cached("a/old", 10, 0), cached("b/newer", 20, 5 * DAY_S), cached("c/newest", 30, 9 * DAY_S)
ALL = (NEWEST, OLD, NEWER)


def test_what_is_listed_is_what_the_hub_and_exports_have_left(tmp_path: Path) -> None:
    blobs = tmp_path / "hub/models--acme--m/blobs"
    snapshot = tmp_path / "hub/models--acme--m/snapshots/c0"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "d1").write_bytes(b"x" * 1000)
    (blobs / "d2.incomplete").write_bytes(b"x" * 24)
    os.utime(blobs / "d1", (DAY_S, DAY_S))
    os.utime(blobs / "d2.incomplete", (2 * DAY_S, DAY_S))
    (snapshot / "model.safetensors").symlink_to("../../blobs/d1")
    write(tmp_path / "variants/acme/m.onnx", model())
    write(tmp_path / "converted/acme/old/0a1b", {"model.safetensors": b"x" * 10})
    hub, variant, converted = list_cached(tmp_path / "hub", tmp_path / "variants", tmp_path / "converted")
    assert (hub.model_id, hub.kind, hub.size_bytes, hub.used_at_s) == ("acme/m", "hub", 1024, 2 * DAY_S)
    assert (variant.model_id, variant.kind) == ("acme/m.onnx", "variant")
    assert (converted.model_id, converted.kind, converted.size_bytes) == ("acme/old", "converted", 10)
    remove(hub)
    remove(hub)
    remove(converted)
    assert list_cached(tmp_path / "hub", tmp_path / "variants", tmp_path / "converted") == [variant]


def test_nothing_is_listed_where_nothing_is(tmp_path: Path) -> None:
    assert list_cached(tmp_path / "hub", tmp_path / "variants", tmp_path / "converted") == []


def test_the_longest_unused_go_first_until_the_rest_is_small_enough() -> None:
    assert plan_prune(ALL, (), 10 * DAY_S, to_bytes=60) == []
    assert plan_prune(ALL, (), 10 * DAY_S, to_bytes=50) == [OLD]
    assert plan_prune(ALL, (), 10 * DAY_S, to_bytes=49) == [OLD, NEWER]
    assert plan_prune(ALL, (), 10 * DAY_S, to_bytes=0) == [OLD, NEWER, NEWEST]


def test_what_is_old_goes_whatever_it_takes_up() -> None:
    assert plan_prune(ALL, (), 10 * DAY_S, older_than_s=4 * DAY_S) == [OLD, NEWER]
    assert plan_prune(ALL, (), 10 * DAY_S, older_than_s=4 * DAY_S, to_bytes=0) == [OLD, NEWER, NEWEST]


def test_what_is_in_use_stays() -> None:
    assert plan_prune(ALL, {OLD.model_id}, 10 * DAY_S, older_than_s=0, to_bytes=30) == [NEWER, NEWEST]
