"""The command line: what it prints, what it refuses in one line, how it stops."""

from __future__ import annotations

import io
import json
import logging
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from genesis.presets import chain_spec
from node import log
from node.cli import main as cli
from node.client.signing import from_uri
from node.keystore import Keystore
from node.paths import ChainPaths

COMMANDS = {
    "dev": "node.cli.dev",
    "node": "node.cli.node",
    "key": "node.cli.key",
    "build-spec": "node.cli.build_spec",
    "purge-chain": "node.cli.purge_chain",
    "export-blocks": "node.cli.block_files:export_blocks",
    "import-blocks": "node.cli.block_files:import_blocks",
}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test these files, whatever version of the package is installed."""
    points = [EntryPoint(name, target, cli.GROUP) for name, target in COMMANDS.items()]
    monkeypatch.setattr(cli, "entry_points", lambda group: points)


def test_the_installed_package_offers_these_commands() -> None:
    installed = {point.name: point.value for point in entry_points(group=cli.GROUP)}
    assert COMMANDS.items() <= installed.items()


def test_build_spec_prints_the_chain(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build-spec", "--dev"]) == 0
    assert capsys.readouterr().out == chain_spec("dev").to_json()
    assert cli.main(["build-spec", "--chain", "local", "--raw"]) == 0
    assert capsys.readouterr().out == chain_spec("local").to_raw().to_json()


def test_what_a_person_can_mend_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for arguments, told in (
        (["--chain", "nope"], "there is no chain 'nope'"),
        (["node", "--chain", str(tmp_path)], "cannot be read"),
        (["--chain", "local", "--validator", "-d", str(tmp_path)], "key insert"),
        (["key", "inspect", "no such words"], "BAD_PHRASE"),
        (["key", "inspect", "//Alice/soft", "--scheme", "ed25519"], "SOFT_JUNCTION"),
    ):
        assert cli.main(arguments) == 1
        err = capsys.readouterr().err
        assert told in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--state-pruning", "0"],
        ["--rpc-port", "65536"],
        ["--rpc-max-connections", "0"],
        ["--rpc-methods", "some"],
        ["-l", "loud"],
        ["export-blocks", "file", "--state-pruning", "many"],
        ["--nonsense"],
        ["nonsense"],
    ],
)
def test_bad_options_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: openledger" in capsys.readouterr().err


def test_a_generated_key_is_inspected_to_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    for scheme in ("sr25519", "ed25519", "ecdsa"):
        options = ["--scheme", scheme, "--output-type", "json"]
        assert cli.main(["key", "generate", *options]) == 0
        made = json.loads(capsys.readouterr().out)
        assert cli.main(["key", "inspect", made.pop("secretPhrase"), *options]) == 0
        assert json.loads(capsys.readouterr().out) == made


@pytest.mark.parametrize("purpose", ["worker", "account", "voucher"])
def test_the_keys_that_commands_look_for_can_be_inserted(
    purpose: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text("correct horse")
    options = ["--password-filename", str(tmp_path / "password")]
    insert = ["key", "insert", "--dev", "-d", str(tmp_path), "--purpose", purpose]
    assert cli.main([*insert, "--suri", "//Alice", *options]) == 0
    assert from_uri("//Alice").public.hex() in capsys.readouterr().out
    folder = ChainPaths.of(tmp_path, "dev").keystore
    with Keystore(folder, "correct horse") as keystore:
        assert keystore.load(purpose) == from_uri("//Alice")


def test_help_lists_running_a_node_before_using_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    told = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in told if line.startswith("    ") and line.split()]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)


LOADED = """
import sys
from importlib.metadata import EntryPoint
from node.cli import main as cli
points = {"key": "node.cli.key", "purge-chain": "node.cli.purge_chain", "node": "no.such_module"}
cli.entry_points = lambda group: [EntryPoint(*point, group) for point in points.items()]
try:
    status = cli.main()
except SystemExit as ended:
    status = ended.code
shown = [name for name, module in points.items() if module in sys.modules]
print(status, *shown)
"""


@pytest.mark.parametrize(
    ("arguments", "shown", "told"),
    [
        (["--version"], "0", ""),
        (["key", "generate"], "0 key", ""),
        (["node", "--dev"], "1", "openledger: node cannot be loaded: ModuleNotFoundError"),
        (["--help"], "0 key purge-chain", "openledger: node cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_command_loads_itself_alone_and_a_broken_one_stops_no_other(
    arguments: list[str], shown: str, told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == shown
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == bool(told)


def test_an_error_stands_below_a_short_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["node", "--rpc-port", "65536"])
    first, second = capsys.readouterr().err.splitlines()
    assert first == "usage: openledger node [options]; see openledger node --help"
    assert second.startswith("openledger node: error: argument --rpc-port: ")
    with pytest.raises(SystemExit):
        cli.main(["export-blocks", "--to", "5"])
    assert "usage: openledger export-blocks" in capsys.readouterr().err


def test_an_address_is_shown_for_another_network(capsys: pytest.CaptureFixture[str]) -> None:
    alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    assert cli.main(["key", "inspect", alice, "--network", "0"]) == 0
    assert "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5" in capsys.readouterr().out


def test_a_secret_on_the_command_line_is_refused_for_a_live_chain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "live.json"
    file.write_text(chain_spec("local").to_json().replace('"Local"', '"Live"'))
    arguments = ["--chain", str(file), "--validator", "--suri", "//Alice", "-d", str(tmp_path)]
    assert cli.main(arguments) == 1
    assert "keystore" in capsys.readouterr().err


def test_purging_asks_and_keeps_keys_and_signatures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ChainPaths.of(tmp_path, "local")
    arguments = ["purge-chain", "--chain", "local", "-d", str(tmp_path)]
    assert cli.main(arguments) == 0
    assert "there is no database" in capsys.readouterr().out
    for path in (paths.database / "x", paths.keystore / "key", paths.consensus / "epoch-0.log"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert cli.main(arguments) == 1
    assert paths.database.exists()
    assert cli.main([*arguments, "-y"]) == 0
    assert not paths.database.exists()
    assert (paths.keystore / "key").exists()
    assert (paths.consensus / "epoch-0.log").exists()


def test_a_log_line_is_a_phrase_and_pairs() -> None:
    out = io.StringIO()
    log.set_up("warn,chain=debug", out)
    log.Log("chain").info("block finalised", number=7, hash=bytes(31) + b"\7", why="so and so")
    log.Log("pool").info("unheard")
    line = out.getvalue()
    assert line.endswith(
        " INFO  chain      block finalised number=7 hash=0x00000000..0007 why='so and so'\n"
    )
    assert line.count("\n") == 1
    with pytest.raises(ValueError, match="loud"):
        log.set_up("loud", out)
    logging.getLogger(log.ROOT).handlers.clear()


RUN = """
import sys
from importlib.metadata import EntryPoint
from node.cli import main as cli
cli.entry_points = lambda group: [EntryPoint("node", "node.cli.node", group)]
sys.exit(cli.main())
"""


def start(base: Path) -> subprocess.Popen[str]:
    ports = ["--rpc-port", "0", "--prometheus-port", "0"]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, "--dev", "-d", str(base), *ports],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def number(line: str, key: str) -> int:
    return int(line.split(f"{key}=")[1].split()[0])


def finals(lines: list[str]) -> list[int]:
    return [number(line, "number") for line in lines if "block finalised" in line]


@pytest.mark.e2e
def test_a_terminated_node_closes_and_a_killed_one_goes_on(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        assert process.stderr is not None
        lines = [next(line for line in process.stderr if "block finalised" in line)]
        process.send_signal(signal.SIGTERM)
        lines += process.stderr.read().splitlines()
    assert process.returncode == 0
    # A block that was on its way to the disk is finished first.
    assert [line for line in lines if "stopping signal=SIGTERM" in line]
    assert "chain closed finalised=" in lines[-1]
    seen = finals(lines)[-1]
    for moment in (0.0, 0.02, 0.1):
        with start(tmp_path) as process:
            assert process.stderr is not None
            opened = number(next(x for x in process.stderr if "chain opened" in x), "finalised")
            assert opened in (seen, seen + 1)
            told = [next(line for line in process.stderr if "block finalised" in line)]
            time.sleep(moment)
            process.kill()
            told += process.stderr.read().splitlines()
        seen = finals(told)[-1]
        assert seen > opened
