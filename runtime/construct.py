"""The runtime: which pallets it has, how they are wired, what the outside may ask of it.

A second version of the rules would be registered here, beside the first: the state a block is
executed on names the version that executes it (`System.LastRuntimeUpgrade`).

Governance, staking, offences and the treasury's spending are not built yet. Their places: `Root`
names the validators and their stakes to `Session` (staking will elect them) and is reached through
`Sudo` on development chains only (governance will hold it); the treasury and the stakers' share
are pots that nothing pays out of.
"""

from __future__ import annotations

from typing import Any

from runtime.frame.calls import Call, CallTable, Dispatcher, set_outer_table
from runtime.frame.dispatch_errors import register_errors
from runtime.frame.event_records import EventTable
from runtime.frame.host import Host
from runtime.frame.pallet import Pallet, storage_items
from runtime.frame.storage import StorageItem
from runtime.pallets.attribution import Attribution
from runtime.pallets.balances import Balances
from runtime.pallets.datanets import Datanets
from runtime.pallets.inference import Inference
from runtime.pallets.models import Models
from runtime.pallets.session import Session
from runtime.pallets.sudo import Sudo
from runtime.pallets.system import System
from runtime.pallets.timestamp import Timestamp
from runtime.pallets.transaction_payment import TransactionPayment
from runtime.pallets.utility import Utility
from runtime.primitives.errors import invariant
from runtime.primitives.scale import Codec, DecodeError, decode_at
from runtime.state.overlay import Overlay

PALLETS: tuple[type[Pallet], ...] = (
    System,
    Timestamp,
    Balances,
    TransactionPayment,
    Session,
    Utility,
    Sudo,
    Datanets,
    Models,
    Inference,
    Attribution,
)
CALLS = CallTable(PALLETS)
EVENTS = EventTable(PALLETS)
set_outer_table(CALLS)
_CALL_CODEC = Codec(CALLS.encode, CALLS.decode_at)
for _pallet in PALLETS:
    if _pallet.Error is not None:
        register_errors(_pallet.Error, _pallet.INDEX)


class Runtime:
    """The pallets of this chain over one state, wired to each other."""

    def __init__(self, overlay: Overlay) -> None:
        self.host = host = Host(overlay)
        self.system = System(host)
        self.timestamp = Timestamp(host)
        self.balances = Balances(host, self.system)
        self.transaction_payment = TransactionPayment(host, self.balances)
        self.session = Session(host, self.system)
        self.utility = Utility(host)
        self.sudo = Sudo(host)
        number = self.system.number
        self.datanets = Datanets(host, self.balances, number)
        self.models = Models(host, self.balances, self.datanets, number)
        self.inference = Inference(
            host,
            self.balances,
            self.models,
            self.datanets,
            self.system,
            self.session.members,
        )
        self.attribution = Attribution(
            host, self.inference, self.models, self.datanets, self.session, self.system
        )
        self.inference.attestation = self.attribution
        self.pallets: tuple[Pallet, ...] = (
            self.system,
            self.timestamp,
            self.balances,
            self.transaction_payment,
            self.session,
            self.utility,
            self.sudo,
            self.datanets,
            self.models,
            self.inference,
            self.attribution,
        )
        self.dispatcher = Dispatcher(CALLS, {p.NAME: p for p in self.pallets})
        self.utility.dispatcher = self.dispatcher
        self.sudo.dispatcher = self.dispatcher

    def check_invariants(self) -> None:
        """Raise InvariantViolation where the state contradicts itself."""
        for pallet in self.pallets:
            pallet.check_invariants()
        ledger = self.datanets.ledger() | self.models.ledger() | self.inference.ledger()
        for reason, held in self.balances.held_by_reason().items():
            invariant(held == ledger.get(reason, 0), f"holds for {reason.name} are {held}")

    def declared_blob(self, content_hash: bytes) -> int | None:
        """Return the length that the chain declares for a blob; None where nothing names it."""
        batch = self.datanets.blobs.get(content_hash)
        return self.models.blobs.get(content_hash) if batch is None else batch


def genesis_state(config: dict[str, Any]) -> dict[bytes, bytes]:
    """Return the first state of a chain.

    `config` holds for each pallet, by the name of its attribute in `Runtime`, what its
    `build_genesis` takes.
    """
    overlay = Overlay(_Nothing())
    runtime = Runtime(overlay)
    by_name = {name: p for name, p in vars(runtime).items() if isinstance(p, Pallet)}
    unknown = sorted(set(config) - set(by_name))
    if unknown:
        raise ValueError(f"genesis names no pallets of this runtime: {', '.join(unknown)}")
    for name, pallet in by_name.items():
        pallet.build_genesis(config.get(name, {}))
    runtime.check_invariants()
    return {key: value for key, value in overlay.changes().items() if value is not None}


class _Nothing:
    def get(self, key: bytes) -> bytes | None:
        return None

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Any:
        return iter(())


def pallet_named(name: str) -> type[Pallet]:
    """Return a pallet by its metadata name; raises KeyError."""
    for pallet in PALLETS:
        if name == pallet.NAME:
            return pallet
    raise KeyError(f"there is no pallet {name}")


def storage_item(pallet: str, item: str) -> StorageItem:
    """Return a storage item by its metadata names, such as ``System`` and ``Account``."""
    for declared in storage_items(pallet_named(pallet)).values():
        if declared.name == item:
            return declared
    raise KeyError(f"there is no storage {pallet}.{item}")


def storage_key(pallet: str, item: str, *keys: Any) -> bytes:
    """Return a storage key, or the prefix of all entries that begin with `keys`."""
    return storage_item(pallet, item).key(*keys)


def encode_call(pallet: str, name: str, /, **arguments: Any) -> bytes:
    """Encode a call by name; raises EncodeError naming what is missing, extra or out of range."""
    return CALLS.encode(CALLS.make(pallet, name, **arguments))


def decode_call(data: bytes) -> Call:
    """Decode the bytes of one call; raises DecodeError."""
    call: Call
    call, end = decode_at(_CALL_CODEC, data, 0)
    if end != len(data):
        raise DecodeError(f"{len(data) - end} bytes left over after the call")
    return call
