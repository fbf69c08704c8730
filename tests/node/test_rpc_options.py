"""The options of the JSON-RPC server reach its configuration."""

from __future__ import annotations

import argparse
import resource

import pytest

from node.cli.node import allow_many_files
from node.cli.rpc_options import add_rpc_options, chosen_rpc
from node.rpc.limits import RpcConfig, RpcLimits, RpcMethods


def chosen(*options: str) -> RpcConfig:
    parser = argparse.ArgumentParser()
    add_rpc_options(parser)
    return chosen_rpc(parser.parse_args(options))


def test_without_options_the_defaults_hold() -> None:
    assert chosen() == RpcConfig(limits=RpcLimits())


def test_every_option_has_its_place() -> None:
    config = chosen(
        *("--rpc-port", "1234"),
        *("--rpc-external", "--rpc-cors", "https://a,https://b", "--rpc-methods", "safe"),
        *("--rpc-max-connections", "7", "--rpc-max-subscriptions-per-connection", "6"),
        *("--rpc-max-request-size", "5", "--rpc-max-response-size", "4"),
        *("--rpc-max-batch-request-len", "3", "--rpc-rate-limit", "60"),
    )
    assert config == RpcConfig(
        host="0.0.0.0",
        port=1234,
        origins=("https://a", "https://b"),
        methods=RpcMethods.SAFE,
        limits=RpcLimits(
            connections=7,
            subscriptions=6,
            request_bytes=5 << 20,
            response_bytes=4 << 20,
            batch_length=3,
            calls_per_minute=60,
        ),
    )


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        ("all", ("*",)),
        ("*", ("*",)),
        ("http://localhost:3000,null", ("http://localhost:3000", "null")),
    ],
)
def test_origins_are_written_as_browsers_send_them(given: str, origins: tuple[str, ...]) -> None:
    assert chosen("--rpc-cors", given).origins == origins


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--rpc-cors", "app.example", "https://app.example"),
        ("--rpc-cors", "https://a,", "is no origin"),
        ("--rpc-methods", "reckless", "auto, safe, unsafe"),
    ],
)
def test_a_bad_value_is_refused_with_the_good_ones(
    capsys: pytest.CaptureFixture[str], option: str, value: str, told: str
) -> None:
    with pytest.raises(SystemExit):
        chosen(option, value)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--rpc-max-request-size", "--rpc-rate-limit"])
def test_a_limit_of_nothing_is_refused(option: str) -> None:
    with pytest.raises(SystemExit):
        chosen(option, "0")


def test_a_node_may_open_a_file_for_each_client() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        allow_many_files()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft >= min(65536, hard) > 256
        assert hard == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
