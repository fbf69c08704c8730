from __future__ import annotations

import socket
from itertools import islice

from node.localnet.free_ports import PORTS, free_ports


def test_free_ports_can_be_listened_on_and_are_named_once() -> None:
    ports = list(islice(free_ports(), 100))
    assert len(set(ports)) == 100
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_somebody_has_is_not_named() -> None:
    taken = next(free_ports())
    with socket.create_server(("127.0.0.1", taken)):
        named = set(free_ports())
    assert taken not in named
    assert len(named) > len(PORTS) / 2
