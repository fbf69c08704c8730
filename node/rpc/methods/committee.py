"""`openledger_committee*`: drawn members ask for an executor's data, executors answer.

Nothing here needs a trusted connection: requests and answers are signed with keys that the chain
knows, and a worker gets its inbox for the signature of a challenge.
"""

from __future__ import annotations

import base64

from node.client.material import MOST_ANSWER_BYTES, MOST_REQUEST_BYTES, MaterialRefusal
from node.private_exchange import PrivateExchange
from node.rpc import schema
from node.rpc.dispatch import AnyMethod, LengthyMethod, Method, SubscribeMethod
from node.rpc.errors import COMMITTEE_ERROR, RpcError
from node.rpc.params import (
    Decoder,
    MalformedError,
    Param,
    base64_bytes,
    decoder,
    hash32,
    hex_bytes,
    text,
    to_hex,
)
from node.rpc.subscriptions import Subscription


def committee_methods(exchange: PrivateExchange | None) -> list[AnyMethod]:
    """List the methods of this group; none on a node without the exchange."""
    if exchange is None:
        return []
    inboxes = exchange.inboxes

    async def request(data: bytes) -> object:
        """Search for the executor's answer: base64 or null, and how many peers were asked."""
        try:
            found = await exchange.ask(data)
        except MaterialRefusal as refusal:
            raise _refusal(refusal) from None
        answer = None if found.answer is None else base64.b64encode(found.answer).decode()
        return {"answer": answer, "peers": found.peers}

    def challenge() -> str:
        """Issue a challenge whose signature opens an inbox; it holds for a minute, and once."""
        return to_hex(inboxes.challenges.issue())

    def answer(number: str, data: bytes | None) -> bool:
        """Take a worker's answer to a request from its inbox; false where it is not wanted."""
        return inboxes.answer(number, data)

    async def inbox(
        subscription: Subscription, worker: bytes, challenge: bytes, signature: bytes
    ) -> None:
        """Deliver the requests of drawn members to the worker whose answers they want.

        The signature is the worker's over a challenge of this node. A worker has one inbox.
        """

        def deliver(number: str, asked: bytes) -> None:
            subscription.notify({"id": number, "request": base64.b64encode(asked).decode()})

        try:
            inboxes.prove(worker, challenge, signature)
            subscription.on_close(inboxes.open(worker, deliver))
        except MaterialRefusal as refusal:
            raise _refusal(refusal) from None

    return [
        LengthyMethod(
            "openledger_committeeRequest",
            request,
            (
                Param(
                    "request", _at_most(MOST_REQUEST_BYTES), doc="Signed by the member, in base64."
                ),
            ),
            result=schema.record(
                answer=schema.nullable(base64_bytes.schema),
                peers={**schema.U32, "description": "how many were asked"},
            ),
        ),
        Method("openledger_committeeChallenge", challenge, result=schema.HEX),
        SubscribeMethod(
            "openledger_subscribeCommitteeInbox",
            inbox,
            "openledger_committeeInbox",
            ("openledger_unsubscribeCommitteeInbox",),
            (
                Param("worker", hash32, doc="The worker's key."),
                Param("challenge", hex_bytes, doc="From `openledger_committeeChallenge`."),
                Param("signature", hex_bytes, doc="SCALE of the worker's `MultiSignature`."),
            ),
            result=schema.record(id=schema.TEXT, request=base64_bytes.schema),
        ),
        Method(
            "openledger_committeeAnswer",
            answer,
            (
                Param("id", text, doc="Of the request, as the inbox delivered it."),
                Param(
                    "answer",
                    _at_most(MOST_ANSWER_BYTES),
                    optional=True,
                    doc="Sealed to the member, in base64; without it the worker has none.",
                ),
            ),
            result=schema.BOOLEAN,
        ),
    ]


def _at_most(most: int) -> Decoder[bytes]:
    @decoder(base64_bytes.schema)
    def decode(value: object) -> bytes:
        data = base64_bytes(value)
        if len(data) > most:
            raise MalformedError(f"at most {most} bytes are taken, got {len(data)}")
        return data

    return decode


def _refusal(refusal: MaterialRefusal) -> RpcError:
    detail = f"{refusal.reason.name}: {refusal.detail}"
    return RpcError(COMMITTEE_ERROR, "Committee request refused", detail)
