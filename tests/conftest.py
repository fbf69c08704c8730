"""What tests of several parts use."""

from __future__ import annotations

import pytest
from dev_chain import DevChain
from hypothesis import HealthCheck, settings

# The suite shares its machine: examples are counted, never timed.
settings.register_profile(
    "suite", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", parent=settings.get_profile("suite"), max_examples=2000)
settings.load_profile("suite")


PROCESS_GROUPS = {
    "tests/clients/": "clients",
    "tests/e2e/test_bad": "bad input",
    "tests/e2e/test_demo.py": "demo",
    "tests/e2e/test_demo_kill.py": "kill",
}
"""Tests that share running processes stay on one worker of the suite."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests of the same processes together."""
    for item in items:
        for path, group in PROCESS_GROUPS.items():
            if item.nodeid.startswith(path):
                item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def chain() -> DevChain:
    """Return a development chain at genesis."""
    return DevChain()
