"""Blocks filled with one kind of call, as `benches.weights` imports them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from benches.weight_cases import Case, committed, published, revealed, submission
from benches.weight_receipts import GENESIS, account
from benches.weight_world import COPIES, NUMBER, OPEN, SEAT_WORKERS, SENDERS, WORKERS, World
from node.client.signing import KeyPair
from runtime import executive
from runtime.construct import CALLS, Runtime
from runtime.frame.origin import Signed
from runtime.frame.weights import BASE_BLOCK, BASE_EXTRINSIC, MICROSECOND
from runtime.pallets.session.liveness import MOST_SKIPPED
from runtime.primitives.digest import PreDigest, pre_digest_item
from runtime.primitives.extrinsic import (
    Extensions,
    Immortal,
    SignedPart,
    UncheckedExtrinsic,
    signing_payload,
)
from runtime.primitives.header import DigestItem, Header
from runtime.primitives.leaders import leader_of
from runtime.primitives.types import Id
from runtime.primitives.version import RUNTIME_VERSION
from runtime.state.overlay import Overlay
from runtime.state.store import MemoryState

PAIRS = {p.account_id: p for p in (*WORKERS, *SEAT_WORKERS, *SENDERS)}


def claim(world: World, skipped: int = 0) -> tuple[DigestItem, ...]:
    """Return the digest of the next block, for whose parent everybody voted."""
    epoch = executive.current_epoch(world.state)
    view = NUMBER + 1 + skipped
    weights = [authority.weight for authority in epoch.authorities]
    signers = (1 << len(weights)) - 1
    made = PreDigest(
        epoch=epoch.epoch,
        view=view,
        parent_view=NUMBER,
        leader=leader_of(epoch.seed, view, weights),
        vrf_output=bytes(64),
        vrf_proof=bytes(80),
        justification_hash=bytes(32),
        parent_signers=signers.to_bytes(-(-len(weights) // 8), "little"),
    )
    return (pre_digest_item(made),)


def sign(pair: KeyPair, nonce: int, pallet: str, name: str, /, **arguments: object) -> bytes:
    """Return a signed extrinsic."""
    call = CALLS.encode(CALLS.make(pallet, name, **arguments))
    extensions = Extensions(Immortal(), nonce, 0)
    payload = signing_payload(
        call,
        extensions,
        spec_version=RUNTIME_VERSION.spec_version,
        transaction_version=RUNTIME_VERSION.transaction_version,
        genesis_hash=GENESIS,
        birth_hash=GENESIS,
    )
    signed = SignedPart(Id(pair.account_id), pair.sign(payload), extensions)
    return UncheckedExtrinsic(signed, call).encode()


def signed(cases: Iterable[Case]) -> list[bytes]:
    """Sign cases in order, counting each signer's nonces."""
    nonces: dict[bytes, int] = {}
    made = []
    for case in cases:
        if not isinstance(case.origin, Signed):
            raise SystemExit(f"{case.call} is not signed")
        who = case.origin.account
        nonce = nonces.get(who, 0)
        nonces[who] = nonce + 1
        made.append(sign(PAIRS[who], nonce, case.pallet, case.call, **case.arguments))
    return made


def imported(world: World, candidates: list[bytes], rounds: int = 3) -> tuple[int, float, float]:
    """Return a full block's extrinsics, its weight and its import time, both in milliseconds."""
    built = executive.build_block(
        world.head, world.state, timestamp=10**12, digest=claim(world), candidates=candidates,
        full=lambda: False,
    )  # fmt: skip
    for _, refused in built.refused:
        raise SystemExit(f"the block refused a candidate: {refused}")
    weight = BASE_BLOCK.ref_time
    for extrinsic in built.block.extrinsics[1:]:
        call, _ = CALLS.decode_at(UncheckedExtrinsic.decode(extrinsic).call, 0)
        weight += CALLS.weight(call).ref_time + BASE_EXTRINSIC.ref_time
    times = []
    for _ in range(rounds):
        start = time.process_time()
        executive.apply_block(world.head, world.state, built.block)
        times.append(time.process_time() - start)
    return len(built.block.extrinsics) - 1, weight / MICROSECOND / 1000, 1000 * min(times)


def byte_rate(world: World) -> float:
    """Return what a byte of an extrinsic costs a block, in microseconds."""
    size = 1 << 20
    small, large = (
        imported(world, [sign(SENDERS[0], 0, "System", "remark", remark=bytes(n))], 7)[2]
        for n in (0, size)
    )
    return 1000 * (large - small) / size


def base_rows(world: World) -> None:
    """Print what a block, an extrinsic and the hooks cost beside what is declared."""
    _, _, empty = imported(world, [], 7)
    remarks = [sign(p, 0, "System", "remark", remark=b"") for p in SENDERS]
    count, _, full = imported(world, remarks)
    each = 1000 * (full - empty) / count
    print(f"an empty block: {1000 * empty:.0f} µs, declared {BASE_BLOCK.ref_time // MICROSECOND}")
    print(f"an extrinsic: {each:.0f} µs, declared {BASE_EXTRINSIC.ref_time // MICROSECOND}")
    _epoch_rows(world)
    for name in ("count", "settle"):
        first = world.first[name]
        print(
            f"hooks of a block that moves on four batches ({name}): {_hooks(world, first):.0f} ms"
        )


def _epoch_rows(world: World) -> None:
    """Print what empty blocks cost that have the most to do with epochs."""
    overlay = Overlay(world.state)
    Runtime(overlay).session.epoch_length.put(NUMBER + 1)
    changes = {k: v for k, v in overlay.changes().items() if v is not None}
    ending = MemoryState(world.entries | changes)
    ends, counts = _empty(ending, claim(world)), _empty(world.state, claim(world, MOST_SKIPPED))
    print(f"an empty block that ends an epoch: {ends:.0f} µs")
    print(f"an empty block that counts {MOST_SKIPPED} skipped views: {counts:.0f} µs")


def _empty(state: MemoryState, digest: tuple[DigestItem, ...]) -> float:
    """Return the least processor time of building an empty block, in microseconds."""
    header = Header(bytes(32), NUMBER, state.root, bytes(32), ())
    times = []
    for _ in range(7):
        start = time.process_time()
        executive.build_block(
            header, state, timestamp=10**12, digest=digest, candidates=(), full=lambda: False
        )
        times.append(time.process_time() - start)
    return 1e6 * min(times)


def _hooks(world: World, first: int) -> float:
    overlay = Overlay(world.state)
    runtime = Runtime(overlay)
    for batch in range(first, first + 4):
        runtime.attribution.agenda.insert(NUMBER, batch, None)
    runtime.attribution.oldest_agenda.put(NUMBER)
    changes = {k: v for k, v in overlay.changes().items() if v is not None}
    changed = MemoryState(world.entries | changes)
    header = Header(bytes(32), NUMBER, changed.root, bytes(32), ())
    start = time.process_time()
    executive.build_block(
        header, changed, timestamp=10**12, digest=claim(world), candidates=(), full=lambda: False
    )
    return 1000 * (time.process_time() - start)


def fill_rows(world: World) -> None:
    """Print weight and import time of blocks full of one call; time must not exceed weight."""
    print(f"\n{'block full of':30} {'calls':>6} {'weight ms':>10} {'import ms':>10}")
    for name, candidates in _fillings(world):
        count, weight, taken = imported(world, candidates)
        mark = "  TOO LONG" if taken > weight else ""
        print(f"{name:30} {count:6} {weight:10.1f} {taken:10.1f}{mark}")


def _fillings(world: World) -> Iterable[tuple[str, list[bytes]]]:
    many = range(1600)
    senders = [Signed(p.account_id) for p in SENDERS]
    transfers = [
        Case(
            "Balances",
            "transfer_keep_alive",
            senders[i % len(senders)],
            {"dest": Id(account("idle", i)), "value": OPEN},
        )
        for i in many
    ]
    yield "transfers", signed(transfers)
    inner = [CALLS.make("Balances", "transfer_keep_alive", **t.arguments) for t in transfers]
    batches = [
        Case("Utility", "batch", senders[i], {"calls": tuple(inner[50 * i : 50 * i + 50])})
        for i in range(32)
    ]
    yield "batches of 50 transfers", signed(batches)
    large = {"remark": bytes(1 << 19)}
    yield "remarks of 512 KiB", signed(Case("System", "remark", s, large) for s in senders[:7])
    copies = range(COPIES)
    yield "commits", signed(committed(world, i) for i in copies)
    yield "reveals of 4 codes", signed(revealed(world, i) for i in copies)
    yield "openings of 4 reports", signed(published(world, i) for i in copies)
    yield "receipts of 64 clusters", signed(submission(world, i % 4, i // 4) for i in range(16 * 4))
    for form in ("count", "settle"):
        first = world.first[form]
        yield (
            f"finalize ({form})",
            signed(
                Case("Attribution", "finalize", senders[i], {"batch": first + i}) for i in copies
            ),
        )
