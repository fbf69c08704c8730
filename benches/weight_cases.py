"""One call of each kind, on the state of `weight_world`, with about the most work it may have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from benches.weight_receipts import GENESIS, NARROW, PRICE, RECEIPTS, WIDE, account, attested
from benches.weight_records import LICENCE
from benches.weight_world import (
    CUSTOMER,
    EXECUTOR,
    HOT,
    NUMBER,
    OPEN,
    OWNER,
    SEAT_WORKERS,
    SEATS,
    SENDERS,
    WORKERS,
    World,
    key,
)
from node.client.signing import KeyPair, from_uri
from runtime.construct import CALLS
from runtime.frame.origin import Origin, Root, Signed, Unsigned
from runtime.pallets.attribution.types import Method
from runtime.pallets.datanets.types import Duplication, FlagKind, Policy
from runtime.pallets.inference.pallet import ownership_message
from runtime.pallets.models.types import Artifact, DatanetVersion, Roots
from runtime.primitives.types import Id
from runtime.protocols import session_keys
from runtime.protocols.agreement import FP32
from runtime.protocols.committee import commitment
from runtime.protocols.voucher import SignedVoucher, Voucher, signing_bytes

METHOD = Method(b"m" * 64, FP32)


@dataclass(frozen=True, slots=True)
class Case:
    """A call and who makes it; `form` tells apart the ways in which one call can be heavy."""

    pallet: str
    call: str
    origin: Origin
    arguments: dict[str, Any]
    form: str = ""


def cases(world: World) -> Iterator[Case]:
    """Yield every call that outsiders can make, some in several forms: the heaviest counts."""
    yield Case("Timestamp", "set", Unsigned(), {"now": 10**12})
    sender, owner = Signed(SENDERS[0].account_id), Signed(OWNER.account_id)
    yield Case("System", "remark", sender, {"remark": b""})
    yield Case("System", "remark_with_event", sender, {"remark": b""})
    inner = CALLS.make("Attribution", "set_method", method=7, declared=METHOD)
    yield Case("Sudo", "sudo", owner, {"call": inner}, "a method")
    yield from _balances(sender)
    yield from _session(world, sender)
    yield from _utility(sender)
    yield from _datanets(world, owner, sender)
    yield from _models(owner, sender)
    yield from _inference(world, sender)
    yield from _attribution(world, sender)


def _balances(sender: Origin) -> Iterator[Case]:
    new, known = Id(account("new")), Id(account("idle"))
    value = 10**6 * OPEN
    yield Case("Balances", "transfer_allow_death", sender, {"dest": new, "value": value})
    everything = {"dest": new, "value": 10**7 * OPEN - 1}
    yield Case("Balances", "transfer_allow_death", sender, everything, "leaves dust")
    forced = {"source": known, "dest": new, "value": value}
    yield Case("Balances", "force_transfer", Root(), forced)
    yield Case("Balances", "transfer_keep_alive", sender, {"dest": new, "value": value})
    yield Case("Balances", "transfer_all", sender, {"dest": new, "keep_alive": False})
    yield Case("Balances", "force_set_balance", Root(), {"who": new, "new_free": OPEN})
    yield Case("Balances", "burn", sender, {"value": OPEN, "keep_alive": True})


def _session(world: World, sender: Origin) -> Iterator[Case]:
    who, new = SENDERS[0].account_id, from_uri("//new session key", "ed25519")
    proof = new.sign(session_keys.ownership_message(GENESIS, who)).value
    yield Case("Session", "set_keys", sender, {"key": new.public, "proof": proof})
    yield Case("Session", "purge_keys", sender, {})
    elected = world.runtime.session.elected.get()[::-1]
    yield Case("Session", "set_validators", Root(), {"validators": elected})


def _utility(sender: Origin) -> Iterator[Case]:
    inner = CALLS.make("System", "remark", remark=b"")
    for name in ("batch", "batch_all", "force_batch"):
        yield Case("Utility", name, sender, {"calls": ()})
        calls = (inner,) * 500
        yield Case("Utility", name, sender, {"calls": calls}, "500 remarks")


def _datanets(world: World, owner: Origin, sender: Origin) -> Iterator[Case]:
    schema = tuple(f"{i:02}".encode() * 32 for i in range(16))
    policy = Policy(True, 0, 0)
    created = {"name": b"new " * 16, "schema": schema, "policy": policy}
    yield Case("Datanets", "create", sender, created)
    submitted = {
        "datanet": 0,
        "sub_root": bytes(32),
        "count": 65_536,
        "bytes_": 10**6,
        "blob": bytes(32),
        "licence": LICENCE,
        "bond": OPEN,
    }
    yield Case("Datanets", "submit_batch", sender, submitted)
    yield Case("Datanets", "accept", owner, {"datanet": 1, "batch": 255})
    yield Case("Datanets", "reject", owner, {"datanet": 1, "batch": 255})
    yield Case("Datanets", "publish_version", owner, {"datanet": 0})
    proof = Duplication(world.copy, world.original)
    yield Case("Datanets", "flag_redundant", sender, {"datanet": 0, "batch": 1022, "proof": proof})
    flagged = {
        "datanet": 1,
        "batch": 0,
        "kind": FlagKind.ADVERSARIAL,
        "evidence": bytes(32),
        "bond": OPEN,
    }
    yield Case("Datanets", "flag", sender, flagged)
    yield Case("Datanets", "resolve_flag", Root(), {"flag": 0, "upheld": True}, "upheld")
    yield Case("Datanets", "resolve_flag", Root(), {"flag": 0, "upheld": False}, "dismissed")
    yield Case("Datanets", "release_bond", sender, {"datanet": 1, "batch": 1})
    yield Case("Datanets", "set_policy", owner, {"datanet": 0, "policy": Policy(False, 1, 1)})
    yield Case("Datanets", "force_delist", Root(), {"datanet": 0})


def _models(owner: Origin, sender: Origin) -> Iterator[Case]:
    registered = {"name": b"n" * 64, "manifest": bytes(32), "compute_cap": 1}
    yield Case("Models", "register_base", Root(), registered)
    used = tuple(DatanetVersion(d, 0) for d in range(16))
    proposed = {
        "name": b"n" * 64,
        "base": 0,
        "parent": 6,
        "royalty": 100,
        "datanets": used,
        "stake": 10 * OPEN,
    }
    yield Case("Models", "propose", sender, proposed)
    yield Case("Models", "back", sender, {"model": 10, "amount": OPEN})
    backer = Signed(account("backer", 5))
    yield Case("Models", "unback", backer, {"model": 7, "amount": OPEN})
    artifact = Artifact(bytes(32), 1, bytes(32), Roots(*[bytes(32)] * 5), (2,) * 4096, 0)
    yield Case("Models", "submit_artifact", owner, {"model": 10, "artifact": artifact})
    yield Case("Models", "launch", owner, {"model": 9, "price": PRICE})
    raised = replace(PRICE, premium=2 * PRICE.premium)
    yield Case("Models", "set_price", owner, {"model": 7, "price": raised})
    yield Case("Models", "deprecate", owner, {"model": 7})


def _inference(world: World, sender: Origin) -> Iterator[Case]:
    executor, customer = Signed(EXECUTOR.account_id), Signed(CUSTOMER.account_id)
    offer = {"endpoint": b"e" * 256, "models": tuple(range(64)), "capacity": 1}
    new = key("new worker")
    message = ownership_message(GENESIS, new.account_id, EXECUTOR.account_id)
    registered = {"key": new.account_id, "proof": new.sign(message), **offer}
    yield Case("Inference", "register_worker", executor, registered)
    worker = WORKERS[0].account_id
    yield Case("Inference", "update_worker", executor, {"key": worker, **offer, "capacity": 2})
    seat = Signed(SEATS[0].account_id)
    yield Case("Inference", "retire_worker", seat, {"key": SEAT_WORKERS[0].account_id})
    opened = {
        "model": 7,
        "executor": worker,
        "voucher_key": HOT.account_id,
        "escrow": OPEN,
        "max_fee": OPEN,
        "ttl": 1000,
    }
    yield Case("Inference", "open_session", sender, opened)
    yield Case("Inference", "top_up", customer, {"session": 0, "amount": OPEN})
    yield submission(world, 0, 0)
    yield Case("Inference", "close_session", customer, {"session": 0})
    yield Case("Inference", "force_close", sender, {"session": 5})
    yield Case("Inference", "settle", sender, {"batch": world.first["final"]})
    yield Case("Inference", "claim", sender, {})


def submission(world: World, session: int, index: int) -> Case:
    """Return the submission of a session's receipts after `index` others."""
    first = index * RECEIPTS + 1
    batch = world.batch(first, first + RECEIPTS - 1)
    voucher = Voucher(GENESIS, session, batch.last_nonce, bytes(32), OPEN, 10**24, NUMBER)
    signed = SignedVoucher(voucher, HOT.sign(signing_bytes(voucher)))
    arguments = {"session": session, "batch": batch, "voucher": signed}
    return Case("Inference", "submit_receipts", _by(WORKERS[session]), arguments)


def _attribution(world: World, sender: Origin) -> Iterator[Case]:
    yield committed(world, 0)
    yield revealed(world, 0)
    seat = Signed(SEAT_WORKERS[0].account_id)
    narrow = {"batch": world.narrow, "attestation": attested(NARROW)}
    yield Case("Attribution", "reveal", seat, narrow, "narrow")
    yield published(world, 0)
    narrow = {"batch": world.narrow, "openings": world.narrow_openings}
    yield Case("Attribution", "publish", _by(WORKERS[0]), narrow, "narrow")
    for form in ("count", "settle"):
        yield Case("Attribution", "finalize", sender, {"batch": world.first[form]}, form)
    yield Case("Attribution", "set_method", Root(), {"method": 7, "declared": METHOD})


def committed(world: World, copy: int) -> Case:
    batch = world.first["commit"] + copy
    seat = SEATS[0].account_id
    digest = commitment(GENESIS, batch, seat, attested(WIDE))
    arguments = {"batch": batch, "digest": digest}
    return Case("Attribution", "commit", _by(SEAT_WORKERS[0]), arguments)


def revealed(world: World, copy: int) -> Case:
    batch = world.first["reveal"] + copy
    arguments = {"batch": batch, "attestation": attested(WIDE)}
    return Case("Attribution", "reveal", _by(SEAT_WORKERS[0]), arguments)


def published(world: World, copy: int) -> Case:
    arguments = {"batch": world.first["reveal"] + copy, "openings": world.openings}
    return Case("Attribution", "publish", _by(WORKERS[0]), arguments)


def _by(pair: KeyPair) -> Signed:
    return Signed(pair.account_id)
