"""Wrong bytes, signatures, nonces and calls: each has its name, and costs a fee at most."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio

from node.client.errors import DispatchError
from node.client.rpc import NodeClient
from node.client.signing import KeyPair, from_uri
from runtime.construct import decode_call, encode_call
from runtime.primitives.extrinsic import (
    Extensions,
    Immortal,
    Mortal,
    SignedPart,
    UncheckedExtrinsic,
    mortal,
    signing_payload,
)
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import compact_encode
from runtime.primitives.types import (
    EcdsaSignature,
    Ed25519Signature,
    Id,
    Index,
    Sr25519Signature,
)
from tests.clients.main_job import (
    CHARLIE,
    DAVE,
    WORKER,
    Market,
    height,
    outcomes,
)
from tests.e2e.bad_world import goes_on, pieces, reason, refused, signed, unharmed
from tests.e2e.failing_calls import (
    REMARK,
    RICH,
    STRANGER,
    failing_calls,
    watched_datanet,
)
from tests.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WAITING = from_uri("//Ferdie//stash")
SCHEMES = ("sr25519", "ed25519", "ecdsa")
SIGNATURES: dict[str, Callable[[bytes], Any]] = {
    "sr25519": Sr25519Signature,
    "ed25519": Ed25519Signature,
    "ecdsa": EcdsaSignature,
}


def envelope(body: bytes) -> bytes:
    return compact_encode(len(body)) + body


def nested(prefix: bytes, depth: int) -> bytes:
    return prefix * depth + b"\x00\x00\x00"


async def test_malformed_extrinsics_are_refused_by_name(client: NodeClient) -> None:
    nonce = await client.nonce(CHARLIE.account_id)
    good = signed(client, REMARK, CHARLIE, nonce)
    body = good[2:]
    assert envelope(body) == good
    source = random.Random(1)
    flipped = [
        good[:at] + bytes((good[at] ^ 1 << source.randrange(8),)) + good[at + 1 :]
        for at in range(0, len(good), 3)
    ]
    cases = [
        *pieces(good, 40),
        *(envelope(cut) for cut in pieces(body, 40)),
        *(good + bytes(extra) for extra in (1, 2, 100)),
        *(envelope(body + bytes(extra)) for extra in (1, 2, 100)),
        *(envelope(bytes((version,)) + body[1:]) for version in (0, 1, 5, 0x83, 0x85, 0xFF)),
        *(compact_encode(length) + body for length in (0, 1, 2**20, 2**30 - 1, 2**32, 2**60)),
        *(bytes((first,)) * 9 for first in (0x02, 0x03, 0xFB, 0xFF)),
        *flipped,
    ]
    async with unharmed(client):
        for case in cases:
            error = await refused(client, case)
            assert error.code in (1001, 1010), (case.hex(), error)
            assert error.data or "invalid format: " in error.message, (case.hex(), error)
        told = await client.request("openledger_whyDropped", "0x" + blake2_256(cases[-1]).hex())
        assert told["reason"] == "INVALID"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 33, 64, 65, 140, 1_000, 65_536, (1 << 19) - 100])
async def test_garbage_of_any_size_is_refused_by_name(client: NodeClient, size: int) -> None:
    source = random.Random(size)
    for _ in range(4 if size > 1_000 else 20):
        garbage = source.randbytes(size)
        for case in (garbage, envelope(garbage), envelope(b"\x84\x00" + garbage)):
            error = await refused(client, case)
            assert error.code in (1001, 1010), (case[:99].hex(), error)
            assert error.data or "invalid format: " in error.message


async def test_an_extrinsic_that_no_pool_holds_is_refused_by_name(client: NodeClient) -> None:
    error = await refused(client, envelope(bytes(5 << 20)))
    assert (error.code, str(error.data).split(":")[0]) == (1016, "TOO_LARGE")


async def test_calls_that_do_not_exist_or_nest_too_deep_are_refused(client: NodeClient) -> None:
    nonce = await client.nonce(CHARLIE.account_id)
    batch = encode_call("Utility", "batch", calls=())[:2]
    sudo = encode_call("Sudo", "sudo", call=remark_call())[:2]
    calls = [
        b"",
        b"\x00",
        *(bytes((pallet, call)) for pallet, call in ((255, 0), (10, 99), (3, 0), (0, 255))),
        REMARK + b"\x00",
        REMARK[:-1],
        nested(batch + b"\x04", 8),
        nested(batch + b"\x04", 9),
        nested(batch + b"\x04", 50_000),
        nested(sudo, 8),
        nested(sudo, 100_000),
        batch + b"\xfe\xff\xff\xff",
        batch + compact_encode(2**30) + REMARK,
        batch + b"\x0b" + b"\xff" * 7,
    ]
    async with unharmed(client):
        for call in calls:
            assert await reason(client, signed(client, call, CHARLIE, nonce)) == "Call", call[:99]
            bare = await refused(client, UncheckedExtrinsic(None, call).encode())
            assert bare.code in (1001, 1010)
    deepest = nested(batch + b"\x04", 7)
    extrinsic = signed(client, deepest, CHARLIE, nonce)
    head = await client.finalized_head()
    api = "TaggedTransactionQueue_validate_transaction"
    assert (await client.call_api(api, b"\x02" + extrinsic + head))[0] == 0, "seven are admitted"


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_signatures_that_do_not_fit_are_refused(client: NodeClient, scheme: str) -> None:
    pair, other = from_uri("//Mallory", scheme), from_uri("//Trent", scheme)  # type: ignore[arg-type]
    extensions = Extensions(Immortal(), 0, 0)

    def payload(call: bytes, **changed: Any) -> bytes:
        facts = {
            "spec_version": client.spec_version,
            "transaction_version": client.transaction_version,
            "genesis_hash": client.genesis_hash,
            "birth_hash": client.genesis_hash,
        }
        return signing_payload(call, extensions, **facts | changed)

    def extrinsic(signature: Any, who: KeyPair = pair, call: bytes = REMARK) -> bytes:
        return UncheckedExtrinsic(
            SignedPart(Id(who.account_id), signature, extensions), call
        ).encode()

    right = pair.sign(payload(REMARK))
    raw = right.value
    # Without money the right signature gets as far as the fee: so the others fail by themselves.
    assert await reason(client, extrinsic(right)) == "Payment"
    wrong = [
        extrinsic(pair.sign(payload(REMARK + b"\x00"))),
        extrinsic(pair.sign(payload(REMARK, genesis_hash=bytes(32)))),
        extrinsic(pair.sign(payload(REMARK, birth_hash=bytes(32)))),
        extrinsic(pair.sign(payload(REMARK, spec_version=client.spec_version + 1))),
        extrinsic(pair.sign(payload(REMARK, transaction_version=client.transaction_version + 1))),
        extrinsic(other.sign(payload(REMARK))),
        extrinsic(right, who=other),
        extrinsic(right, call=encode_call("System", "remark", remark=b"another")),
        *(extrinsic(replace(right, value=bytes((byte,)) * len(raw))) for byte in (0, 1, 0x7F, 255)),
        *(
            extrinsic(replace(right, value=raw[:at] + bytes((raw[at] ^ bit,)) + raw[at + 1 :]))
            for at in range(0, len(raw), 7)
            for bit in (1, 0x80)
        ),
        *(
            extrinsic(make(raw[:64].ljust(65 if name == "ecdsa" else 64, b"\x00")))
            for name, make in SIGNATURES.items()
            if name != scheme
        ),
    ]
    async with unharmed(client):
        for case in wrong:
            assert await reason(client, case) == "BadProof", case.hex()


async def test_wrong_facts_and_nonces_are_refused_by_name(client: NodeClient) -> None:
    nonce = await client.nonce(DAVE.account_id)
    worker_nonce = await client.nonce(WORKER.account_id)
    assert nonce > 0
    at = await height(client)
    later = Mortal(65_536, 60_000)
    zero = SignedPart(Id(bytes(32)), Sr25519Signature(bytes(64)), Extensions(Immortal(), 0, 0))
    time = encode_call("Timestamp", "set", now=1)
    # Each of these is a hundred times what a block holds; nobody has to execute it to know.
    heavy = encode_call("Utility", "batch", calls=(heavy_call(),) * 500)
    cases = {
        "genesis": (signed(client, REMARK, DAVE, nonce, genesis_hash=bytes(32)), "BadProof"),
        "spec version": (signed(client, REMARK, DAVE, nonce, spec_version=2**32 - 1), "BadProof"),
        "tx version": (signed(client, REMARK, DAVE, nonce, transaction_version=0), "BadProof"),
        "era": (signed(client, REMARK, DAVE, nonce, era=mortal(64, at)), "BadProof"),
        "era to come": (signed(client, REMARK, DAVE, nonce, era=later), "AncientBirthBlock"),
        "stale": (signed(client, REMARK, DAVE, nonce - 1), "Stale"),
        "first": (signed(client, REMARK, DAVE, 0), "Stale"),
        "tip": (signed(client, REMARK, DAVE, nonce, tip=RICH), "Payment"),
        "greatest tip": (signed(client, REMARK, DAVE, nonce, tip=2**128 - 1), "Payment"),
        "no money": (signed(client, REMARK, STRANGER, 0), "Payment"),
        "worker without money": (signed(client, REMARK, WORKER, worker_nonce), "Payment"),
        "nobody": (UncheckedExtrinsic(zero, REMARK).encode(), "BadSigner"),
        "index": (
            UncheckedExtrinsic(replace(zero, address=Index(0)), REMARK).encode(),
            "BadSigner",
        ),
        "unsigned": (UncheckedExtrinsic(None, REMARK).encode(), "Call"),
        "time": (UncheckedExtrinsic(None, time).encode(), "MandatoryValidation"),
        "heavy": (signed(client, heavy, DAVE, nonce), "ExhaustsResources"),
    }
    async with unharmed(client):
        for name, (extrinsic, expected) in cases.items():
            assert await reason(client, extrinsic) == expected, name


async def test_a_nonce_ahead_waits_outside_the_blocks_until_its_era_ends(
    client: NodeClient,
) -> None:
    async with unharmed(client):
        at = await height(client)
        era = mortal(16, at)  # long enough to be told of before it ends
        birth = await client.block_hash(era.birth(at))
        assert birth is not None
        ahead = await client.nonce(WAITING.account_id) + 5
        early = signed(client, REMARK, WAITING, ahead, era=era, birth_hash=birth)
        name = await client.request("author_submitExtrinsic", "0x" + early.hex())
        again = await refused(client, early)
        assert again.code == 1013, again
        rival = await refused(client, signed(client, REMARK[:-1] + b"!", WAITING, ahead))
        assert rival.code == 1014, rival
        with trio.fail_after(PATIENCE):
            while (told := await client.request("openledger_whyDropped", name)) is None:
                await trio.sleep(0.1)
        assert told["reason"] == "EXPIRED"


async def test_calls_that_a_block_refuses_cost_their_fee_and_name_pallet_and_error(
    client: NodeClient, market: Market
) -> None:
    watched = await watched_datanet(client)
    async with unharmed(client):
        by_signer: dict[KeyPair, list[tuple[bytes, str]]] = {}
        for signer, expected, call in failing_calls(client, market, watched):
            by_signer.setdefault(signer, []).append((call, expected))
        for signer, cases in by_signer.items():
            found = await outcomes(client, signer, [call for call, _ in cases])
            told = [f"{o.pallet}.{o.error}" if isinstance(o, DispatchError) else o for o in found]
            assert told == [expected for _, expected in cases]
            texts = [o.text for o in found if isinstance(o, DispatchError)]
            assert all(texts)
    await goes_on(client)


def remark_call() -> Any:
    return decode_call(REMARK)


def heavy_call() -> Any:
    return decode_call(encode_call("Inference", "settle", batch=0))
