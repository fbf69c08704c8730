"""What tests of several parts use."""

from __future__ import annotations

import signal
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages

import pytest
from dev_chain import DevChain
from hypothesis import HealthCheck, settings

import consensus
import genesis
import inference
import node
import runtime

# The suite shares its machine: examples are counted, never timed. It tries the same ones each time;
# `make fuzz` looks for new ones.
settings.register_profile(
    "suite",
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep", parent=settings.get_profile("suite"), max_examples=2000, derandomize=False
)
settings.load_profile("suite")


@pytest.fixture
def chain() -> DevChain:
    """Return a development chain at genesis."""
    return DevChain()


def pytest_configure() -> None:
    """Let programs that tests start be interrupted, though a shell runs the suite in background.

    Such a shell has the signal ignored, which whatever it starts inherits.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Load all of the project's modules where files are dealt out to several processes.

    Hypothesis draws from the constants of what is loaded: its examples would hang on the files that
    a process happened to run before.
    """
    if hasattr(session.config, "workerinput"):
        for package in (consensus, genesis, inference, node, runtime):
            for module in walk_packages(package.__path__, f"{package.__name__}."):
                with suppress(ImportError):  # some need a GPU's libraries
                    import_module(module.name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, lest one core wait for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)
