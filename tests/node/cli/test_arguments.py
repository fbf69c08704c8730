"""What the commands take as an argument, and what they call a wrong use."""

from __future__ import annotations

import argparse

import pytest

from node.cli.arguments import node_argument


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9944", "wss://node.example", "http://[::1]:1/x"])
def test_the_address_of_a_node_is_taken_as_it_is(url: str) -> None:
    assert node_argument(url) == url


@pytest.mark.parametrize(
    "url", ["", "node", "ftp://x", "ws://", "ws://x:y", "ws://[::1", "ws://x:0"]
)
def test_what_is_no_address_of_a_node_is_a_wrong_use(url: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no address"):
        node_argument(url)
