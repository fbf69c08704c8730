"""`openledger account`: secrets go in, and come out only to sign or under a password."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.cli import main as cli
from node.cli.account_wallet import Wallet, WalletReason, WalletRefusal, default_wallet
from node.client.signing import from_uri
from node.keystore import Keystore, KeystoreError, Stretching
from runtime.primitives.keys import ss58_encode

Run = Callable[..., tuple[int, str, str]]
PASSWORD = "horse staple"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return tmp_path / "wallet"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*words: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        options = ["--wallet", str(folder)]
        if words[0] in ("new", "import", "export"):
            options += ["--password-filename", str(folder.parent / "password")]
        try:
            status = cli.main(["account", *words, *options])
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, *capsys.readouterr()

    return call


def told(out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_new_account_shows_its_phrase_once_and_keeps_it_sealed(run: Run, folder: Path) -> None:
    status, out, err = run("new", "savings", "--words", "24", "--json")
    made = told(out)
    assert status == 0
    assert "only backup" in err
    phrase = made["secretPhrase"]
    assert len(phrase.split()) == 24
    assert made["ss58Address"] == ss58_encode(from_uri(phrase).account_id)
    (file,) = folder.glob("savings*")
    assert phrase not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    assert phrase not in run("inspect", "savings")[1] + run("list")[1]
    password_file = folder.parent / "password"
    assert Wallet(folder, password_file).signer("savings").account_id == from_uri(phrase).account_id


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519", "ecdsa"])
def test_an_imported_secret_is_listed_and_inspected_without_a_password(
    run: Run, scheme: Any
) -> None:
    status, out, _ = run("import", "mine", "--scheme", scheme, "--json", typed="//Me//x\n")
    assert status == 0
    assert "//Me" not in out
    pair = from_uri("//Me//x", scheme)
    address = ss58_encode(pair.account_id)
    assert told(run("inspect", "mine", "--json")[1]) == told(out)
    assert told(out)["publicKey"] == f"0x{pair.public.hex()}"
    assert told(run("list", "--json")[1]) == [
        {"name": "mine", "address": address, "scheme": scheme}
    ]
    assert address in run("list")[1]


@pytest.mark.parametrize(
    ("typed", "reason"),
    [("hello world\n", "BAD_PHRASE"), ("0x12\n", "BAD_SEED"), ("a/\n", "MALFORMED_URI")],
)
def test_a_bad_secret_is_refused_without_being_repeated(
    run: Run, folder: Path, typed: str, reason: str
) -> None:
    status, out, err = run("import", "mine", typed=typed)
    assert (status, out) == (1, "")
    assert reason in err
    assert typed.strip() not in err
    assert run("list")[1].endswith("none\n")


@pytest.mark.parametrize("words", [("import", "mine"), ("inspect", "-")])
def test_no_secret_is_never_the_development_phrase(run: Run, words: tuple[str, ...]) -> None:
    for typed in ("", "\n", "  \n"):
        status, out, err = run(*words, typed=typed)
        assert (status, out) == (1, "")
        assert "no secret was given" in err
    assert run("list")[1].endswith("none\n")


def test_a_mistyped_address_is_told_from_an_unknown_name(folder: Path) -> None:
    address = ss58_encode(from_uri("//Alice").account_id)
    for text, reason in ((address[:-1] + "Z", "MISTYPED"), ("alice", "UNKNOWN")):
        with pytest.raises(WalletRefusal, match=reason):
            Wallet(folder).account(text)


def test_a_name_is_given_once(run: Run) -> None:
    assert run("import", "mine", typed="//Me\n")[0] == 0
    for words in (("new", "mine"), ("import", "mine")):
        status, out, err = run(*words, typed="//You\n")
        assert (status, out) == (1, "")
        assert "EXISTS" in err
    assert told(run("inspect", "mine", "--json")[1])["ss58Address"] == ss58_encode(
        from_uri("//Me").account_id
    )


@pytest.mark.parametrize("name", ["Mine", "5mine", "a b", "-", "é", "a" * 33, "../x"])
def test_a_name_is_a_plain_word(run: Run, name: str) -> None:
    status, out, err = run("new", name)
    assert (status, out) == (1, "")
    assert "NO_NAME" in err


def test_inspect_takes_names_paths_addresses_ids_and_piped_secrets(run: Run) -> None:
    alice = from_uri("//Alice").account_id
    address = ss58_encode(alice)
    for text in ("//Alice", address, f"0x{alice.hex()}"):
        assert told(run("inspect", text, "--json")[1])["ss58Address"] == address
    assert told(run("inspect", "-", "--json", typed="//Alice\n")[1])["ss58Address"] == address
    polkadot = told(run("inspect", "//Alice", "--network", "0", "--json")[1])["ss58Address"]
    assert polkadot == "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5"
    status, _, err = run("inspect", "nobody")
    assert status == 1
    assert "UNKNOWN" in err


def test_the_wallet_lies_apart_from_the_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_wallet() == Path("/data/openledger/wallet")


def test_looking_creates_no_folder(run: Run, folder: Path) -> None:
    assert run("list")[0] == 0
    assert run("inspect", "//Alice")[0] == 0
    assert not folder.exists()


def test_a_wrong_password_opens_nothing(run: Run, folder: Path) -> None:
    assert run("import", "mine", typed="//Me\n")[0] == 0
    other = folder.parent / "other"
    other.write_text("guess\n")
    with pytest.raises(KeystoreError, match="WRONG_PASSWORD"):
        Wallet(folder, other).signer("mine")


def test_who_finds_the_wallet_in_use_waits_for_it(folder: Path) -> None:
    wallet = Wallet(folder, stretching=Stretching.INSECURE)
    wallet.insert("mine", "//Me", "sr25519", PASSWORD)
    held = Keystore(folder, PASSWORD)
    release = threading.Timer(0.3, held.close)
    release.start()
    assert [entry.name for entry in wallet.entries()] == ["mine"]
    release.join()


def test_an_unknown_name_is_a_refusal_and_a_path_is_not(folder: Path) -> None:
    wallet = Wallet(folder)
    with pytest.raises(WalletRefusal) as refused:
        wallet.signer("mine")
    assert refused.value.reason is WalletReason.MISSING
    assert wallet.signer("//Alice").account_id == wallet.account("//Alice")
