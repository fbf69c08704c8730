"""Calls that are well formed, of accounts that can pay, and wrong: one or more for each pallet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from node.client.rpc import NodeClient
from node.client.signing import KeyPair, from_uri
from runtime.construct import decode_call, encode_call
from runtime.pallets.attribution.types import Method
from runtime.pallets.datanets.types import FlagKind, Policy
from runtime.primitives.types import (
    Id,
)
from runtime.protocols.agreement import FP32
from runtime.protocols.price import Price
from tests.clients.main_job import (
    ALICE,
    BOB,
    CHARLIE,
    DAVE,
    EVE,
    FERDIE,
    NAME,
    OPEN,
    VALIDATOR,
    Market,
    artifact,
    contribute,
    proposal,
    registration,
    session_call,
    submission,
)

RICH = 10**30
STRANGER = from_uri("//nobody//at//all")
REMARK = encode_call("System", "remark", remark=b"a remark of some length, to be cut anywhere")


async def watched_datanet(client: NodeClient) -> int:
    """Make a Datanet whose only batch is accepted now, so that its bond cannot be had for long."""
    policy = Policy(True, 0, 0)
    create = encode_call(
        "Datanets", "create", name=b"watched", schema=(b"title", b"text"), policy=policy
    )
    created = await client.submit(create, DAVE)
    net: int = created.event("Datanets", "Created").datanet
    batch = await contribute(client, net, BOB, "watched")
    await client.submit(encode_call("Datanets", "accept", datanet=net, batch=batch), DAVE)
    return net


def failing_calls(
    client: NodeClient, market: Market, watched: int
) -> list[tuple[KeyPair, str, bytes]]:
    """List calls that are well formed and wrong: signer, error, call."""
    net, model, session = market.datanet, market.model, market.session
    policy = Policy(True, 0, 0)
    transfer = encode_call("Balances", "transfer_keep_alive", dest=Id(BOB.account_id), value=RICH)

    def create(**changed: Any) -> bytes:
        plain = {"name": b"fresh", "schema": (b"text",), "policy": policy}
        return encode_call("Datanets", "create", **plain | changed)

    def of(pallet: str, name: str, **arguments: Any) -> bytes:
        return encode_call(pallet, name, **arguments)

    def both(*calls: bytes) -> bytes:
        return of("Utility", "batch_all", calls=tuple(decode_call(call) for call in calls))

    return [
        (DAVE, "Datanets.NameTaken", create(name=NAME)),
        (DAVE, "Datanets.NameTooLong", create(name=b"")),
        (DAVE, "Datanets.NameTooLong", create(name=b"\xff\xfe")),
        (DAVE, "Datanets.BadSchema", create(schema=())),
        (DAVE, "Datanets.BadSchema", create(schema=(b"a", b"a"))),
        (DAVE, "Datanets.BadPolicy", create(policy=replace(policy, bond_per_record=RICH))),
        (DAVE, "Datanets.NothingNew", of("Datanets", "publish_version", datanet=net)),
        (DAVE, "Datanets.AlreadyDecided", of("Datanets", "accept", datanet=net, batch=0)),
        (DAVE, "Datanets.UnknownBatch", of("Datanets", "accept", datanet=net, batch=99)),
        (BOB, "Datanets.NotOwner", of("Datanets", "accept", datanet=net, batch=0)),
        (BOB, "Datanets.UnknownDatanet", submission(99, "new")),
        (BOB, "Datanets.BadBatchSize", submission(net, "new", count=0)),
        (BOB, "Datanets.BadBatchSize", submission(net, "new", bytes_=2**63)),
        (BOB, "Datanets.BadLicence", submission(net, "new", licence=b"")),
        (BOB, "Datanets.BondTooLow", submission(net, "new", bond=OPEN - 1)),
        (BOB, "Datanets.BlobKnown", submission(net, "alpha")),
        (BOB, "Token.FundsUnavailable", submission(net, "new", bond=RICH)),
        (BOB, "Datanets.WindowOpen", of("Datanets", "release_bond", datanet=watched, batch=0)),
        (
            BOB,
            "Datanets.FlagBondTooLow",
            of(
                "Datanets",
                "flag",
                datanet=net,
                batch=0,
                kind=FlagKind.ADVERSARIAL,
                evidence=bytes(32),
                bond=0,
            ),
        ),
        (DAVE, "Models.UnknownBase", proposal(net, base=99)),
        (DAVE, "Models.BadDatanets", proposal(net, datanets=())),
        (DAVE, "Models.BadDatanets", proposal(99)),
        (DAVE, "Models.BadLineage", proposal(net, parent=99)),
        (DAVE, "Models.StakeTooLow", proposal(net, stake=0)),
        (DAVE, "Token.FundsUnavailable", proposal(net, stake=RICH)),
        (
            DAVE,
            "Models.WrongStage",
            of("Models", "submit_artifact", model=model, artifact=artifact()),
        ),
        (DAVE, "Models.PriceRefused", of("Models", "set_price", model=model, price=Price(9, 9, 0))),
        (BOB, "Models.NotOwner", of("Models", "set_price", model=model, price=Price(0, 0, 0))),
        (BOB, "Models.UnknownModel", of("Models", "back", model=99, amount=OPEN)),
        (BOB, "Models.NotABacker", of("Models", "unback", model=model, amount=OPEN)),
        (BOB, "Inference.NotValidator", registration(client.genesis_hash)),
        (VALIDATOR, "Inference.WorkerKnown", registration(client.genesis_hash)),
        (VALIDATOR, "Inference.BadProof", unproven_registration()),
        (EVE, "Inference.UnknownModel", session_call(99)),
        (EVE, "Inference.UnknownWorker", session_call(model, executor=bytes(32))),
        (EVE, "Inference.BadEscrow", session_call(model, escrow=0)),
        (EVE, "Inference.BadEscrow", session_call(model, max_fee=RICH)),
        (EVE, "Inference.BadTtl", session_call(model, ttl=0)),
        (EVE, "Inference.BadTtl", session_call(model, ttl=2**32 - 1)),
        (EVE, "Token.FundsUnavailable", session_call(model, escrow=RICH)),
        (EVE, "Token.FundsUnavailable", of("Inference", "top_up", session=session, amount=RICH)),
        (EVE, "Inference.UnknownSession", of("Inference", "close_session", session=99)),
        (EVE, "Inference.NotDue", of("Inference", "force_close", session=session)),
        (BOB, "Inference.NotCustomer", of("Inference", "close_session", session=session)),
        (BOB, "Inference.UnknownBatch", of("Inference", "settle", batch=99)),
        (BOB, "Inference.NothingToClaim", of("Inference", "claim")),
        (BOB, "Attribution.NoDuty", of("Attribution", "finalize", batch=99)),
        (
            ALICE,
            "Runtime.BadOrigin",
            of("Attribution", "set_method", method=9, declared=Method(b"mine", FP32)),
        ),
        (BOB, "Sudo.RequireSudo", of("Sudo", "sudo", call=decode_call(REMARK))),
        (BOB, "Runtime.BadOrigin", of("Timestamp", "set", now=1)),
        (FERDIE, "Token.FundsUnavailable", transfer),
        (FERDIE, "Datanets.NameTaken", both(create(name=b"first of two"), create(name=NAME))),
        (CHARLIE, "Token.FundsUnavailable", both(REMARK, create(name=b"undone"), transfer)),
    ]


def unproven_registration() -> bytes:
    return encode_call(
        "Inference",
        "register_worker",
        key=STRANGER.account_id,
        proof=STRANGER.sign(b"something else"),
        endpoint=b"http://127.0.0.1:1",
        models=(),
        capacity=1,
    )
