"""A machine on which nothing can be written to but /tmp, as a container's read-only root is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFINED = """
set -eu
mount --make-rprivate /
cut -d ' ' -f 5 /proc/self/mountinfo | sort -u | while read -r place; do
  case "$place" in /proc*|/sys*|/dev*) ;; *) mount -o remount,bind,ro "$place" 2>/dev/null || true ;; esac
done
mount -t tmpfs tmpfs /tmp
for place in / "$HOME" "$CHECKOUT" "$(dirname "$PYTHON")"; do
  if touch "$place/written" 2>/dev/null; then echo "$place can be written to" >&2; exit 3; fi
done
exec "$PYTHON" -m modelyard demo
"""


@pytest.mark.verify(part="install")
def test_models_are_served_where_only_tmp_can_be_written_to() -> None:
    environ = {**os.environ, "PYTHON": sys.executable, "CHECKOUT": str(Path(__file__).parents[2]), "TMPDIR": "/tmp"}
    # Root itself, where it is: of a namespace that maps one user only, workers cannot become others.
    words = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "bash", "-c", CONFINED]
    done = subprocess.run(words, env=environ, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "nothing is left behind" in done.stdout
