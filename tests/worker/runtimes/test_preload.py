"""What forks inherit: imported, and made ready, once; and what is not imported until it is asked for."""

from __future__ import annotations

from pathlib import Path

import transformers

from tests.worker.runtimes.conftest import Preloaded

PATTERNS = 100
"""What the first load of a process compiles is ten times as many where nobody has prepared it."""


def test_no_thread_is_started_before_a_fork(preloaded: Preloaded) -> None:
    assert preloaded.found["threads"] == ["MainThread"]


def test_a_boot_does_not_compile_the_librarys_patterns_again(preloaded: Preloaded) -> None:
    assert preloaded.found["patterns"] < PATTERNS


def test_a_boot_imports_nothing_of_the_libraries(preloaded: Preloaded) -> None:
    assert preloaded.found["imported"] == []


def test_the_librarys_models_are_listed_once(preloaded: Preloaded) -> None:
    models = Path(transformers.__file__).parent / "models"
    assert preloaded.found["folders_read"] < 1.5 * len(list(models.iterdir()))


def test_no_boot_imports_the_compiler(preloaded: Preloaded) -> None:
    assert preloaded.found["needless"] == []
    assert not preloaded.found["taken_for_compiled"]
    assert preloaded.found["marked"] == [2, 2]


def test_what_asks_for_the_compiler_gets_it(preloaded: Preloaded) -> None:
    assert preloaded.found["one_config"]
    assert preloaded.found["compiled_alike"]
    assert preloaded.found["known_as_compiled"]
    assert preloaded.found["exported_alike"]


def test_loading_and_generating_print_nothing(preloaded: Preloaded) -> None:
    assert preloaded.said == ""


def test_only_architectures_that_compute_with_scipy_import_it(preloaded: Preloaded) -> None:
    assert not preloaded.found["scipy"]
    assert preloaded.found["linalg"] == "scipy.linalg"


def test_only_schedulers_that_compute_with_scipy_import_it(preloaded: Preloaded) -> None:
    assert preloaded.found["parts_of_scipy"] == []
    sigmas = preloaded.found["sigmas"]
    assert (len(sigmas), sigmas[-1]) == (6, 0)
    assert sorted(sigmas, reverse=True) == sigmas
    assert abs(preloaded.found["integral"] - 2) < 1e-6
