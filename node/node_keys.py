"""The keys of a running node as its operator changes them from outside: made, put in, looked up.

A validator that has a consensus key gets a second one in a keystore beside (`keystore-next`). One
that was made here signs nowhere else, so it is known to the running node at once and signs from
the first block of the epoch whose set has it; one that was put in is known after a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path

from consensus.session_key import SessionKey
from node.client.signing import Ed25519KeyPair, Scheme, from_secret, generate
from node.keystore import Keystore, StoredKey
from node.paths import ChainPaths
from runtime.primitives.errors import Refusal

CONSENSUS = "consensus"
SCHEMES: dict[str, Scheme] = {
    "consensus": "ed25519",
    "worker": "sr25519",
    "account": "sr25519",
    "voucher": "sr25519",
}
"""What keys are for, and the scheme of each."""
KEY_TYPES = {"smpx": CONSENSUS}
"""The four letters by which the ecosystem names a purpose, beside the purposes' own names."""


class NodeKeysReason(Enum):
    """Why keys are not changed or looked up."""

    NO_PASSWORD = (
        "the node was started without the keystore's password; start it with "
        "--password-filename, or use `openledger key` on its machine"
    )
    UNKNOWN_TYPE = "there is no such key type; known are consensus (smpx), worker, account, voucher"
    OTHER_PUBLIC = "the secret gives another public key"
    WAITING = (
        "there is a second key already; register it, or, where it signs, move its file into the "
        "place of the first one"
    )
    NOT_OURS = "there is no such consensus key in the node's keystores"


class NodeKeysRefusal(Refusal):
    """Nothing was changed."""

    def __init__(self, reason: NodeKeysReason, what: str = "") -> None:
        super().__init__(reason, f"{what}: {reason.value}" if what else reason.value)
        self.reason: NodeKeysReason = reason


class NodeKeys:
    """The keystore of a node, the one beside it, and the consensus key in use.

    Every method but `in_use` takes long, since the password is stretched: call it in a thread.
    """

    def __init__(
        self,
        paths: ChainPaths,
        password: str | None,
        in_use: bytes | None = None,
        adopt: Callable[[SessionKey], object] = lambda _key: None,
    ) -> None:
        """Take what the node was started with.

        password: of the keystore, None where the node does not know it; in_use: a public key;
        adopt: is given each new key that was made for a validator that signs.
        """
        self._paths = paths
        self._password = password
        self.in_use = in_use
        self._adopt = adopt

    def rotate(self) -> bytes:
        """Make a new consensus key and return its public half; raises Refusal.

        It lies in the keystore if none is there, else in the one beside. The running validator
        signs with it in epochs whose set has it.
        """
        phrase, pair = generate("ed25519")
        self._insert_consensus(phrase)
        if self.in_use is not None and isinstance(pair, Ed25519KeyPair):
            self._adopt(SessionKey(pair.seed))
        return pair.public

    def insert(self, key_type: str, secret_uri: str, public: bytes) -> None:
        """Put a secret that gives this public key into the keystore; raises Refusal."""
        purpose = KEY_TYPES.get(key_type, key_type)
        if purpose not in SCHEMES:
            raise NodeKeysRefusal(NodeKeysReason.UNKNOWN_TYPE, key_type[:32])
        pair = from_secret(secret_uri, SCHEMES[purpose])
        if pair.public != public:
            raise NodeKeysRefusal(NodeKeysReason.OTHER_PUBLIC, f"0x{pair.public.hex()}")
        if purpose == CONSENSUS:
            self._insert_consensus(secret_uri)
            return
        with self._open(self._paths.keystore) as keystore:
            keystore.insert(purpose, secret_uri, SCHEMES[purpose])

    def has(self, public: bytes, key_type: str) -> bool:
        """Tell whether the node holds the secret of a public key; raises Refusal."""
        purpose = KEY_TYPES.get(key_type, key_type)
        if purpose == CONSENSUS and public == self.in_use:
            return True
        return any(key.purpose == purpose and key.public == public for key in self._stored())

    def has_session_keys(self, keys: bytes) -> bool:
        """Tell whether the node holds the secrets of session keys, which here are one key."""
        return self.has(keys, CONSENSUS)

    def prove(self, public: bytes, genesis_hash: bytes, account: bytes) -> bytes:
        """Sign, for `Session.set_keys`, that a stored consensus key belongs to an account."""
        for folder in self._folders():
            with self._open(folder) as keystore:
                if not any(k.purpose == CONSENSUS and k.public == public for k in keystore.list()):
                    continue
                pair = keystore.load(CONSENSUS)
            if isinstance(pair, Ed25519KeyPair):
                return SessionKey(pair.seed).key_ownership(genesis_hash, account)
        raise NodeKeysRefusal(NodeKeysReason.NOT_OURS, f"0x{public.hex()}")

    def _insert_consensus(self, secret_uri: str) -> None:
        with self._open(self._paths.keystore) as keystore:
            taken = self.in_use is not None or any(k.purpose == CONSENSUS for k in keystore.list())
            if not taken:
                keystore.insert(CONSENSUS, secret_uri, "ed25519")
                return
        with self._open(self._paths.keystore_next) as keystore:
            for key in keystore.list():
                if key.purpose == CONSENSUS:
                    raise NodeKeysRefusal(NodeKeysReason.WAITING, f"0x{key.public.hex()}")
            keystore.insert(CONSENSUS, secret_uri, "ed25519")

    def _open(self, folder: Path) -> Keystore:
        if self._password is None:
            raise NodeKeysRefusal(NodeKeysReason.NO_PASSWORD)
        return Keystore(folder, self._password)

    def _folders(self) -> list[Path]:
        both = (self._paths.keystore, self._paths.keystore_next)
        return [folder for folder in both if folder.exists()]

    def _stored(self) -> list[StoredKey]:
        """Read what both keystores tell without the password."""
        found: list[StoredKey] = []
        for folder in self._folders():
            with Keystore(folder, "") as keystore:
                found += keystore.list()
        return found
