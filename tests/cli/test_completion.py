"""What shells complete: commands, options, and models of the server that would be asked."""

from __future__ import annotations

import subprocess

import pytest

from tests.cli.conftest import SCRIPT, Terminal
from tests.serving import KEY, Server

IN_BASH = """
eval "$(_MODELYARD_COMPLETE=source_bash {script})"
COMP_WORDS=(modelyard {words}) COMP_CWORD={count}
_modelyard_completion {script}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(terminal: Terminal, shell: str, *words: str) -> list[str]:
    """What a shell is told for the last of these words: of bash by its own function, of others by what theirs ask."""
    if shell == "bash":
        script = IN_BASH.format(script=SCRIPT, words=" ".join(words), count=len(words))
        done = subprocess.run(["bash", "-c", script], env=dict(terminal.environ), capture_output=True, text=True)
    else:
        asked = {"_MODELYARD_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": f"modelyard {' '.join(words)}"}
        done = terminal.run(**asked, _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(terminal: Terminal, shell: str) -> None:
    assert [line for line in completed(terminal, shell, "ser") if "serve" in line]
    assert not [line for line in completed(terminal, shell, "ser") if "events" in line]


def test_a_shell_completes_options(terminal: Terminal) -> None:
    assert set(completed(terminal, "bash", "keys", "create", "--rate")) == {"--rate-limit"}


def test_a_shell_completes_models_of_the_server(terminal: Terminal, server: Server) -> None:
    asking = Terminal({**terminal.environ, "MODELYARD_URL": server.url, "MODELYARD_API_KEY": KEY})
    assert completed(asking, "bash", "run", "tiny/g") == ["tiny/gpt2"]


def test_without_a_server_no_model_is_completed(terminal: Terminal) -> None:
    nowhere = Terminal({**terminal.environ, "MODELYARD_URL": "http://127.0.0.1:9"})
    assert completed(nowhere, "bash", "run", "tiny/g") == []
