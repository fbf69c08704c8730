"""The plan of a local network: who is in it, on which ports, with which command lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

from genesis.base_model import OPEN_NANO
from genesis.spec import ChainSpec
from genesis.validators import validator_suri
from node.localnet.leash import leashed
from node.network.identity import load_or_make_key
from node.paths import ChainPaths

LOOPBACK = "127.0.0.1"
_PEER_ID_PREFIX = bytes.fromhex("002408011220")
"""Identity multihash of 36 bytes, protobuf of a 32-byte ed25519 key (libp2p's "Peer Ids")."""
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Ports:
    """The first port of each kind; every further process has the next one."""

    rpc: int = 9944
    peers: int = 30333
    prometheus: int = 9615
    workers: int = 8000

    def of(self, index: int) -> Ports:
        """Return the ports of one process."""
        return Ports(
            self.rpc + index, self.peers + index, self.prometheus + index, self.workers + index
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A node: a validator where `suri` is given, else one that follows."""

    name: str
    folder: Path
    ports: Ports
    suri: str | None = None
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        """Where its JSON-RPC is."""
        return f"ws://{self.host}:{self.ports.rpc}"

    def address(self, spec: ChainSpec) -> str:
        """Return the multiaddr that peers call; its identity is made if there is none.

        Raises ValueError where the identity is damaged, OSError.
        """
        seed = load_or_make_key(ChainPaths.of(self.folder, spec.id).network / "key")
        return f"/ip4/{self.host}/tcp/{self.ports.peers}/p2p/{peer_id(seed)}"


def peer_id(seed: bytes) -> str:
    """Return the libp2p peer id of an ed25519 seed, in base58."""
    number = int.from_bytes(_PEER_ID_PREFIX + bytes(SigningKey(seed).verify_key), "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "1" + digits  # the leading zero byte


def validator_name(index: int) -> str:
    """Name a development validator in lower case, as alice or validator-6."""
    return validator_suri(index).strip("/").replace("//", "-").lower()


def members(base: Path, validators: int, ports: Ports) -> tuple[Member, ...]:
    """Plan the nodes of a network: one per validator, each with a folder of its own."""
    return tuple(
        Member(
            validator_name(index),
            base / validator_name(index),
            ports.of(index),
            validator_suri(index),
        )
        for index in range(validators)
    )


def node_command(
    member: Member, chain: Path, bootnodes: tuple[str, ...], *more: str, init_log: bool = False
) -> list[str]:
    """Return how a node is run; init_log: its key never signed on this chain."""
    key = () if member.suri is None else ("--validator", "--suri", member.suri)
    return leashed(
        "node",
        "--name",
        member.name,
        "--chain",
        str(chain),
        "--base-path",
        str(member.folder),
        *key,
        *(("--init-log",) if init_log and key else ()),
        "--rpc-port",
        str(member.ports.rpc),
        "--prometheus-port",
        str(member.ports.prometheus),
        "--listen-addr",
        f"/ip4/{member.host}/tcp/{member.ports.peers}",
        *(("--bootnodes", *bootnodes) if bootnodes else ()),
        *more,
    )


def worker_command(member: Member, folder: Path, *more: str) -> list[str]:
    """Return how a validator's worker is run; it registers itself with the validator's account."""
    port = str(member.ports.workers)
    return leashed(
        "worker",
        "--node",
        member.url,
        "--base",
        str(OPEN_NANO),
        "--validator-uri",
        f"{member.suri}//stash",
        "--base-path",
        str(folder),
        "--port",
        port,
        "--endpoint",
        f"http://{LOOPBACK}:{port}",
        *more,
    )
