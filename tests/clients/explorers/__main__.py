"""Show a running chain to explorers that others built; takes their built folders.

``python -m tests.clients.explorers --papi-console DIST --polkadot-apps BUILD --pictures FOLDER``
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pytest

from tests.clients.explorers.tours import PICTURES, VARIABLES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.explorers", description=__doc__)
    for name in (*VARIABLES, PICTURES):
        option = f"--{name.lower().replace('_', '-')}"
        parser.add_argument(option, dest=name, type=Path, metavar="FOLDER")
    for name, folder in vars(parser.parse_args()).items():
        if folder is not None:
            os.environ[name] = str(folder.resolve(strict=name != PICTURES))
    return int(pytest.main(["tests/clients/test_explorers.py", "-v", "-p", "no:cacheprovider"]))


if __name__ == "__main__":
    sys.exit(main())
