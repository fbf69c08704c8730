"""Where a validator's consensus key comes from."""

from __future__ import annotations

from pathlib import Path

from genesis.spec import ChainSpec, ChainType
from node.client.signing import Ed25519KeyPair, from_uri
from node.errors import NodeError
from node.keystore import Keystore
from node.password import read_password
from node.paths import ChainPaths

CONSENSUS = "consensus"


def session_key_seed(
    spec: ChainSpec, paths: ChainPaths, suri: str | None, password_file: Path | None
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
        if not paths.keystore.exists():
            raise NodeError(
                f"there is no keystore at {paths.keystore}; make the consensus key with "
                "`openledger key insert`, or run without --validator"
            )
        with Keystore(paths.keystore, read_password(password_file)) as keystore:
            pair = keystore.load(CONSENSUS)
    if not isinstance(pair, Ed25519KeyPair):
        raise NodeError("the consensus key has to be an ed25519 key")
    return pair.seed
