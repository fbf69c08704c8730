"""Where a validator's consensus key comes from."""

from __future__ import annotations

from pathlib import Path

from genesis.spec import ChainSpec, ChainType
from node.client.signing import Ed25519KeyPair, KeyPair, from_uri
from node.errors import NodeError
from node.keystore import Keystore
from node.node_keys import CONSENSUS
from node.password import read_password
from node.paths import ChainPaths


def keystore_password(paths: ChainPaths, password_file: Path | None, *, ask: bool) -> str | None:
    """Return the keystore's password: of the file, or asked for; None where it is not needed.

    Raises NodeError where there is no keystore to ask for, PasswordError.
    """
    if ask:
        _require_keystore(paths)
    return read_password(password_file) if ask or password_file is not None else None


def session_key_seed(
    spec: ChainSpec, paths: ChainPaths, suri: str | None, password: str | None
) -> bytes:
    """Return the 32 secret bytes: of the URI on chains without value, else from the keystore.

    Raises NodeError, SecretError, KeystoreError or PasswordError.
    """
    if suri is not None:
        if spec.chain_type is ChainType.LIVE:
            raise NodeError(
                "a secret on the command line can be read by everybody on this machine; put it "
                "into the keystore with `openledger key insert`"
            )
        pair = from_uri(suri, "ed25519")
    else:
        _require_keystore(paths)
        with Keystore(paths.keystore, password or read_password(None)) as keystore:
            pair = keystore.load(CONSENSUS)
    return _seed(pair)


def next_session_key_seed(paths: ChainPaths, password: str | None) -> bytes | None:
    """Return the secret of the key beside the keystore; None without one, or a password for it.

    Raises KeystoreError.
    """
    folder = paths.keystore_next
    if password is None or not folder.exists():
        return None
    with Keystore(folder, password) as keystore:
        if not any(key.purpose == CONSENSUS for key in keystore.list()):
            return None
        return _seed(keystore.load(CONSENSUS))


def _seed(pair: KeyPair) -> bytes:
    if not isinstance(pair, Ed25519KeyPair):
        raise NodeError("the consensus key has to be an ed25519 key")
    return pair.seed


def _require_keystore(paths: ChainPaths) -> None:
    if not paths.keystore.exists():
        raise NodeError(
            f"there is no keystore at {paths.keystore}; make the consensus key with "
            "`openledger key insert`, or run without --validator"
        )


__all__ = ["CONSENSUS", "keystore_password", "next_session_key_seed", "session_key_seed"]
