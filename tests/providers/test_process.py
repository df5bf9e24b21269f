"""The process that asks providers, as the server keeps it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import modelyard
from modelyard.engine.provider_process import ProviderProcess
from modelyard.errors import CannotAskProviders
from tests.serving import is_alive


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop go on until something holds."""
    import asyncio

    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.02)


async def test_what_has_to_be_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(modelyard.__file__).parents[1]))
    process = ProviderProcess()
    try:
        with pytest.raises(CannotAskProviders) as raised:
            async with process.link():
                pytest.fail("there is nothing to ask with")
    finally:
        await process.close()
    assert "install modelyard[providers]" in str(raised.value)
    assert "install" not in raised.value.message
    assert raised.value.status == 503


@pytest.fixture
def small_library(tmp_path: Path) -> Path:
    """A folder with a library that stands for the one which asks providers, and which takes seconds to import: here
    nobody is asked."""
    (tmp_path / "litellm" / "integrations").mkdir(parents=True)
    (tmp_path / "litellm" / "__init__.py").touch()
    (tmp_path / "litellm" / "integrations" / "custom_logger.py").write_text("class CustomLogger: ...\n")
    return tmp_path


async def test_it_is_ended_when_nobody_has_asked_for_a_while_and_started_again(
    small_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(modelyard.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(source), str(small_library)]))
    monkeypatch.setenv("OPENAI_API_KEY", "not for it")
    process = ProviderProcess(idle_s=0.05)
    try:
        async with process.link() as link:
            assert await link.ping(60.0)
            first = psutil.Process(process.pid)
            assert "OPENAI_API_KEY" not in first.environ()
        await until(lambda: not is_alive(first))
        assert process.pid is None
        async with process.link() as link:
            second = psutil.Process(process.pid)
            assert second.pid != first.pid
            second.kill()
            assert await link.wait_closed(60.0)
        assert process.pid is None
    finally:
        await process.close()
    assert not is_alive(second)
