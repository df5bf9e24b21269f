"""What is imported to stay is not looked through for garbage."""

from __future__ import annotations

import gc

import pytest

from modelyard.lasting_imports import lasting_imports


def test_no_collection_happens_within_and_none_later_looks_through_what_was_made_there() -> None:
    with lasting_imports():
        assert not gc.isenabled()
        stays = [[] for _ in range(1000)]  # type: ignore[var-annotated]
    assert gc.isenabled()
    looked_through = {id(each) for each in gc.get_objects()}
    assert not looked_through & {id(each) for each in stays}


def test_an_import_that_fails_leaves_collections_as_they_were() -> None:
    with pytest.raises(ImportError), lasting_imports():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()
