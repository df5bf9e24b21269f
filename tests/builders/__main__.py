"""`python -m tests.builders FAMILY FOLDER`: saves one tiny model."""

import argparse
from pathlib import Path

from tests.builders import build
from tests.builders.registry import FAMILIES


def main() -> None:
    """Parses the arguments, builds, prints the folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.builders", description=main.__doc__)
    parser.add_argument("family", choices=sorted(FAMILIES))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(build(arguments.family, arguments.folder))


if __name__ == "__main__":
    main()
