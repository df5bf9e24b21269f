"""Which programs the pages' examples call, and what of that tests do not run, and why."""

from __future__ import annotations

RUN = {".", "chmod", "cd", "cp", "curl", "echo", "export", "mkdir", "modelyard", "openssl", "printf", "python3"}
"""Those that tests run."""

STAND_STILL = {
    "pip": "fetches packages: tests/packages installs the wheel in an environment of its own",
    "make": "its targets are what tests are run by",
    "modelyard bench": "measures, for a minute",
    "modelyard demo": "starts a server of its own: tests/packages runs it",
    "modelyard nodes": "would take the only machine out of service",
    "modelyard serve": "would not end: the server that examples ask is one",
    "modelyard simulate": "reckons, for a minute",
}
"""What does nothing when an example calls it, and why. What stands beside it in the example is run."""

ELSEWHERE = "changes the machine, or needs another one"
CLUSTER = "starts a machine of a cluster: tests/engine/ray starts clusters"
DATABASE = "of a server's own version, which is not installed beside it"
NOT_RUN = {
    "/opt/modelyard/bin/pip": ELSEWHERE,
    ".venv/bin/python": "measures, for minutes",
    "claude": "an agent of somebody else's: tests/gateway/surfaces/anthropic speaks as it does",
    "createdb": ELSEWHERE,
    "createuser": ELSEWHERE,
    "deploy/by-hand/head.sh": CLUSTER,
    "deploy/by-hand/node.sh": CLUSTER,
    "deploy/by-hand/server.sh": CLUSTER,
    "docker": "no machine that tests run on has it",
    "install": ELSEWHERE,
    "npx": "goes on showing the console's sources until it is ended",
    "pg_dump": DATABASE,
    "pg_restore": DATABASE,
    "ray": CLUSTER,
    "systemctl": ELSEWHERE,
    "sudo": ELSEWHERE,
    "useradd": ELSEWHERE,
}
"""Programs whose examples are read and not run, and why."""

PAGES_NOT_RUN = {
    "docs/howto/accelerators.md": "needs GPUs",
    "docs/howto/providers.md": "asks providers: tests/e2e/test_providers.py asks one of ours",
    "examples/training/cards/": "the cards in examples/models are made of these",
}
"""Pages, or folders of them, whose examples are read and not run, and why."""
