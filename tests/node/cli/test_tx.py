"""`openledger tx`: the command line of every call, made of its declaration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.cli import main as cli
from node.cli.amounts import UNIT
from node.cli.tx import listing, overview
from node.cli.tx_parser import CallParser
from node.cli.tx_show import command_line
from node.cli.values_names import dashed, find_call, find_pallet, plain
from node.client.signing import from_uri, sign_extrinsic
from runtime.construct import PALLETS, encode_call
from runtime.frame.pallet import calls
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.types import Id
from tests.node.cli.typed_values import CALLS, made

BOB = Id(from_uri("//Bob").account_id)
EVERY_CALL = pytest.mark.parametrize(
    ("pallet", "info"), CALLS, ids=[f"{p.NAME}.{info.name}" for p, info in CALLS]
)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        try:
            status = cli.main(["tx", *words])
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, *capsys.readouterr()

    return call


@EVERY_CALL
@settings(max_examples=15, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_the_command_that_is_shown_makes_the_same_call(
    pallet: Any, info: Any, data: st.DataObject
) -> None:
    call = data.draw(made(pallet, info))
    program, name, pallet_word, call_word, *words = shlex.split(command_line(call))
    assert (program, name) == ("openledger", "tx")
    entry = find_call(find_pallet(pallet_word), call_word)
    assert CallParser("it", entry).parse(words)[0] == call


@EVERY_CALL
def test_every_call_has_help_that_tells_its_arguments(pallet: Any, info: Any, run: Run) -> None:
    status, out, _ = run(pallet.NAME, info.name, "--help")
    assert status == 0
    assert " ".join(info.docs.split())[:40] in " ".join(out.split())
    assert all(f"--{dashed(name)}" in out for name in info.arguments)


def test_no_argument_of_a_call_hides_an_option_of_ours() -> None:
    for pallet, info in CALLS:
        parser = CallParser("it", find_call(pallet, info.name)).parser
        strings = [text for action in parser._actions for text in action.option_strings]
        assert len(strings) == len(set(strings))
        assert {"--from", "--node", "--tip", "--yes", "--dry-run"} <= set(strings)


def test_pallets_and_calls_are_listed_each_with_a_line(run: Run) -> None:
    assert run() == (0, f"{overview()}\n", "")
    for pallet in PALLETS:
        assert run(pallet.NAME.lower()) == (0, f"{listing(pallet)}\n", "")
        assert all(dashed(info.name) in listing(pallet) for info in calls(pallet).values())
        assert not calls(pallet) or pallet.NAME.lower() in overview()


@pytest.mark.parametrize(
    "words",
    [
        ("balances", "transfer-keep-alive", "//Bob", "1.5"),
        ("Balances", "transferKeepAlive", "//Bob", "--value", "1.5"),
        ("Balances.transfer_keep_alive", "--value", "1.5 OPEN", "--dest", "//Bob"),
        ("BALANCES", "TRANSFER_KEEP_ALIVE", "--value", "1500000000000000000planck", "//Bob"),
        ("transfer", "//Bob", "1.5", "--node", "ws://nowhere:1"),
    ],
)
def test_one_call_may_be_written_in_many_ways(run: Run, words: tuple[str, ...]) -> None:
    expected = encode_call("Balances", "transfer_keep_alive", dest=BOB, value=3 * UNIT // 2)
    assert run(*words, "--call-data") == (0, f"0x{expected.hex()}\n", "")


def test_an_optional_argument_may_be_left_out_or_none(run: Run) -> None:
    words = ["models", "propose", "--name", "x", "--base", "0", "--royalty", "5"]
    words += ["--datanets", '[{"datanet": 1, "version": 2}]', "--stake", "3", "--call-data"]
    status, without, _ = run(*words)
    assert (status, without) == run(*words, "--parent", "none")[:2]
    assert without != run(*words, "--parent", "7")[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("balnces",), "did you mean Balances?"),
        (("balances", "transfer_keep_aliv"), "did you mean transfer-keep-alive?"),
        (("balances", "transfer"), "transfer-allow-death or transfer-keep-alive or transfer-all?"),
        (("transfer", "//Bob"), "missing: value (amount)"),
        (("transfer", "//Bob", "1", "2"), "too many arguments: 2"),
        (("transfer", "//Bob", "x"), "value (amount): 'x' is no amount"),
        (("transfer", "bob", "1"), "dest (account): 'bob'"),
        (("transfer", "//Bob", "1"), "--from or --suri"),
        (("transfer", "//Bob", "1", "--suri", "//A", "--json"), "add --yes to send, or --dry-run"),
        (("transfer", "//Bob", "1", "--mortal", "5000"), "not from 4 to 4096"),
        (("transfer", "//Bob", "1", "--from", "a", "--suri", "b"), "not allowed with"),
        (("transfer", "//Bob", "1", "--val", "1"), "unrecognized arguments"),
        (("submit", "0xzz"), "pairs of hex digits"),
    ],
)
def test_wrong_use_ends_with_status_2_and_says_what_is_wrong(
    run: Run, words: tuple[str, ...], told: str
) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert told in err


def test_a_call_and_a_signed_extrinsic_are_shown_decoded(run: Run) -> None:
    call = encode_call("Balances", "burn", value=5, keep_alive=True)
    alice = from_uri("//Alice")
    signed = sign_extrinsic(
        call,
        alice,
        Extensions(Immortal(), 7, UNIT),
        spec_version=1,
        transaction_version=1,
        genesis_hash=bytes(32),
        birth_hash=bytes(32),
    )
    told = json.loads(run("decode", f"0x{call.hex()}", "--json")[1])
    arguments = {"value": "5", "keep_alive": True}
    assert told["call"] == {"pallet": "Balances", "call": "burn", "args": arguments}
    whole = json.loads(run("decode", signed.hex(), "--json")[1])
    assert (whole["nonce"], whole["tip"], whole["era"]) == (7, str(UNIT), "immortal")
    assert whole["callData"] == f"0x{call.hex()}"
    _, text, _ = run("decode", f"0x{signed.hex()}")
    assert "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY" in text
    assert "openledger tx balances burn --value '0.000000000000000005 OPEN'" in text


@pytest.mark.parametrize("data", ["0x", "0x00", "0xffff", "0x0203"])
def test_bytes_that_are_nothing_are_refused(run: Run, data: str) -> None:
    status, out, err = run("decode", data)
    assert (status, out) == (1, "")
    assert "neither an extrinsic nor a call" in err


def test_no_two_calls_have_names_that_read_the_same() -> None:
    names = [(plain(pallet.NAME), plain(info.name)) for pallet, info in CALLS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("period", ["64", "128"])
def test_an_era_is_of_a_length_or_for_ever_not_both(period: str, run: Run) -> None:
    words = ("system", "remark", "hi", "--from", "//Alice", "--call-data")
    assert run(*words, "--mortal", period)[0] == 0
    assert run(*words, "--immortal")[0] == 0
    for both in (("--mortal", period, "--immortal"), ("--immortal", "--mortal", period)):
        status, _, err = run(*words, *both)
        assert status == 2
        assert "not allowed with argument" in err


def test_without_a_choice_an_era_has_64_blocks() -> None:
    parser = CallParser("it", find_call(find_pallet("system"), "remark"))
    assert parser.parse(["hi"])[1].mortal == 64
    assert parser.parse(["hi", "--mortal", "8"])[1].mortal == 8
    assert parser.parse(["--immortal", "hi"])[1].mortal is None
