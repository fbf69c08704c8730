import json
import stat
import subprocess
import sys

import pytest

from node.client.signing import SecretError, from_uri
from node.keystore import (
    Keystore,
    KeystoreError,
    KeystoreReason,
    StoredKey,
    Stretching,
    _KeyFile,
)
from runtime.primitives.keys import verify

FILE = "consensus.key.json"


def opened(path, password="a password"):
    return Keystore(path, password, stretching=Stretching.INSECURE)


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "keys") as keystore:
        yield keystore


@pytest.fixture
def folder(tmp_path):
    """A closed keystore with one key."""
    with opened(tmp_path / "keys") as keystore:
        keystore.insert("consensus", "//Alice//consensus", "ed25519")
    return tmp_path / "keys"


def reason_of(call, *arguments):
    with pytest.raises(KeystoreError) as refusal:
        call(*arguments)
    return refusal.value.reason


def change(folder, **fields):
    path = folder / FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519", "ecdsa"])
def test_a_stored_key_signs_after_a_restart(tmp_path, scheme):
    with opened(tmp_path) as keystore:
        inserted = keystore.insert("worker", "//Alice//worker///pass", scheme)
    with opened(tmp_path) as keystore:
        loaded = keystore.load("worker")
    assert loaded.public == inserted.public == from_uri("//Alice//worker///pass", scheme).public
    assert verify(loaded.sign(b"message"), b"message", inserted.account_id)


def test_the_list_needs_no_password_and_is_ordered(store, tmp_path):
    worker = store.insert("worker", "//Alice", "sr25519")
    consensus = store.insert("consensus", "//Bob", "ed25519")
    store.close()
    with opened(tmp_path / "keys", "another password") as again:
        assert again.list() == (
            StoredKey("consensus", "ed25519", consensus.public),
            StoredKey("worker", "sr25519", worker.public),
        )


def test_neither_secret_nor_password_is_in_the_file(folder):
    content = (folder / FILE).read_bytes()
    for hidden in (b"Alice", b"//", b"a password", from_uri("//Alice//consensus", "ed25519").seed):
        assert hidden not in content
        assert hidden.hex().encode() not in content


def test_files_are_for_their_owner_only_and_nothing_else_is_left(folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == [".lock", FILE]
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_default_stretching_takes_256_mebibytes(tmp_path):
    with Keystore(tmp_path, "password") as keystore:
        keystore.insert("consensus", "//Alice", "ed25519")
    stored = json.loads((tmp_path / FILE).read_text())
    assert (stored["kdf"], stored["passes"], stored["memory"]) == ("argon2id13", 3, 1 << 28)


def test_the_same_secret_is_sealed_differently_each_time(store, tmp_path):
    store.insert("one", "//Alice", "ed25519")
    store.insert("two", "//Alice", "ed25519")
    one, two = (
        json.loads((tmp_path / "keys" / f"{n}.key.json").read_text()) for n in ("one", "two")
    )
    assert not {one[field] for field in ("salt", "nonce", "sealed")} & set(two.values())


def test_a_wrong_password_is_named(folder):
    with opened(folder, "A password") as keystore:
        assert reason_of(keystore.load, "consensus") is KeystoreReason.WRONG_PASSWORD


def test_a_damaged_file_is_named_and_not_taken_for_a_wrong_password(folder):
    content = (folder / FILE).read_bytes()
    with opened(folder) as keystore:
        for position in range(0, len(content), 7):
            damaged = bytearray(content)
            damaged[position] ^= 0x11
            (folder / FILE).write_bytes(damaged)
            if json_equal(damaged, content):
                continue
            assert reason_of(keystore.load, "consensus") is KeystoreReason.CORRUPTED, position
            assert reason_of(keystore.list) is KeystoreReason.CORRUPTED
        for length in (0, 1, len(content) // 2):
            (folder / FILE).write_bytes(content[:length])
            assert reason_of(keystore.load, "consensus") is KeystoreReason.CORRUPTED


def json_equal(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_a_file_altered_with_care_does_not_open(folder):
    other = from_uri("//Mallory", "ed25519").public.hex()
    change(folder, public=other)
    altered = _KeyFile.model_validate_json((folder / FILE).read_bytes())
    change(folder, checksum=altered.expected_checksum())
    with opened(folder) as keystore:
        assert keystore.list()[0].public.hex() == other
        assert reason_of(keystore.load, "consensus") is KeystoreReason.WRONG_PASSWORD


def test_a_key_under_another_purposes_name_is_refused(folder):
    (folder / FILE).rename(folder / "worker.key.json")
    with opened(folder) as keystore:
        assert reason_of(keystore.load, "worker") is KeystoreReason.CORRUPTED


def test_parameters_that_would_eat_the_machine_are_refused(folder):
    change(folder, memory=1 << 40)
    with opened(folder) as keystore:
        assert reason_of(keystore.load, "consensus") is KeystoreReason.CORRUPTED


def test_a_key_is_never_replaced(folder):
    before = (folder / FILE).read_bytes()
    with opened(folder) as keystore:
        reason = reason_of(keystore.insert, "consensus", "//Bob", "ed25519")
    assert reason is KeystoreReason.EXISTS
    assert (folder / FILE).read_bytes() == before


def test_a_secret_that_gives_no_key_leaves_nothing_behind(store, tmp_path):
    with pytest.raises(SecretError):
        store.insert("consensus", "//Alice/soft", "ed25519")
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [".lock"]


def test_a_missing_key_is_named(store):
    assert reason_of(store.load, "consensus") is KeystoreReason.NOT_FOUND


@pytest.mark.parametrize("purpose", ["", "../consensus", "Worker", "a" * 33, "1st", "a/b", "a.b"])
def test_a_purpose_that_is_no_plain_name_is_refused(store, purpose):
    for call in (store.load, lambda name: store.insert(name, "//Alice", "ed25519")):
        assert reason_of(call, purpose) is KeystoreReason.BAD_PURPOSE


def test_a_second_keystore_on_the_folder_is_refused_until_the_first_is_closed(tmp_path):
    first = opened(tmp_path)
    assert reason_of(opened, tmp_path) is KeystoreReason.LOCKED
    first.close()
    first.close()
    opened(tmp_path).close()
    assert reason_of(first.list) is KeystoreReason.CLOSED
    assert reason_of(first.load, "consensus") is KeystoreReason.CLOSED


def test_another_process_is_refused_and_the_lock_dies_with_its_holder(tmp_path):
    script = (
        "import sys; from pathlib import Path; from node.keystore import Keystore\n"
        "k = Keystore(Path(sys.argv[1]), ''); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        assert reason_of(opened, tmp_path) is KeystoreReason.LOCKED
        holder.kill()
    opened(tmp_path).close()


def test_a_path_that_cannot_be_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert reason_of(opened, tmp_path / "file") is KeystoreReason.NOT_A_FOLDER
