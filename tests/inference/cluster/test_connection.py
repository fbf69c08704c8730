from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from inference.cluster import connection
from inference.cluster.connection import check_ray, connected
from inference.cluster.errors import ClusterReason, ClusterRefused


@pytest.mark.parametrize(
    "address", ["", "ray://10.0.0.1:10001", "somewhere", "host:0", "host:99999"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ClusterRefused) as refused:
        check_ray(address)
    assert refused.value.reason is ClusterReason.BAD_ADDRESS


@pytest.mark.parametrize(
    "address", ["auto", "local", "10.0.0.1:6379", "head.example:6379", "[::1]:6379"]
)
def test_addresses_are_two_words_or_a_host_and_a_port(address: str) -> None:
    check_ray(address)


def test_without_ray_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "find_spec", lambda name: None)
    with (
        pytest.raises(ClusterRefused, match=r"openledger-node\[ray\]") as refused,
        connected("auto"),
    ):
        pass
    assert refused.value.reason is ClusterReason.RAY_MISSING


def test_a_cluster_that_is_not_there_is_refused_before_ray_would_try_for_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "ray", None)  # whoever imports it fails
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterRefused, match="ray start") as refused, connected(address):
            pass
    assert refused.value.reason is ClusterReason.CLUSTER_UNREACHABLE


def test_the_worker_is_loaded_without_ray() -> None:
    code = (
        "import sys, inference.cli, inference.worker.worker_command, inference.cluster.connection,"
        "inference.worker.train_command; sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
