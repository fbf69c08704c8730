"""Foreign libraries in a virtual environment of their own, which borrows this one's large packages.

transformers and peft need torch, numpy, safetensors and tokenizers. The environment sees those of
the project's own environment through a path file, so that pip finds them installed, no second torch
is downloaded, and both sides compute with the same torch.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("transformers_requirements.txt")
FOLDER = ROOT / "build" / "peers" / "transformers"
BORROWED = ("torch", "numpy", "safetensors", "tokenizers")


class NotInstalled(Exception):
    """The environment could not be made; holds what pip said."""


def transformers_python() -> Path:
    """Return the interpreter that imports transformers and peft; installs them once.

    Raises:
        NotInstalled: without a package index, or when pip would replace a borrowed package.
    """
    python = FOLDER / "bin" / "python"
    lender = sysconfig.get_paths()["purelib"]
    borrowed = [f"{name}=={version(name)}" for name in BORROWED]
    wanted = "\n".join([REQUIREMENTS.read_text(), sys.version, lender, *borrowed])
    stamp = hashlib.sha256(wanted.encode()).hexdigest()
    marker = FOLDER / ".installed"
    with _alone(FOLDER):
        if not marker.exists() or marker.read_text() != stamp:
            marker.unlink(missing_ok=True)
            venv.create(FOLDER, with_pip=True, clear=False)
            _borrow(lender)
            _install(python, borrowed)
            marker.write_text(stamp)
    return python


def _borrow(lender: str) -> None:
    (packages,) = (FOLDER / "lib").glob("python*/site-packages")
    (packages / "borrowed.pth").write_text(lender + "\n")


def _install(python: Path, borrowed: list[str]) -> None:
    limits = FOLDER / "constraints.txt"
    limits.write_text("\n".join(borrowed) + "\n")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--requirement", str(REQUIREMENTS), "--constraint", str(limits)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    own = [name for name in BORROWED if any(FOLDER.glob(f"lib/python*/site-packages/{name}"))]
    if done.returncode or own:
        doubled = f"installed twice: {own}\n" if own else ""
        raise NotInstalled(f"{' '.join(command)} failed:\n{doubled}{done.stdout}{done.stderr}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make the folder; of several processes, one at a time installs into it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
