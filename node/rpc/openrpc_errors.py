"""Which errors the methods may answer with, as the OpenRPC document tells of them."""

from __future__ import annotations

from node.rpc import errors
from node.rpc.chain_head import errors as chain_head
from node.rpc.kinds import AnyMethod, LengthyMethod, SessionMethod, SubscribeMethod

ERRORS: dict[str, tuple[int, str]] = {
    "ParseError": (errors.PARSE_ERROR, "Parse error"),
    "InvalidRequest": (errors.INVALID_REQUEST, "Invalid Request"),
    "InvalidParams": (errors.INVALID_PARAMS, "Invalid params"),
    "InternalError": (errors.INTERNAL_ERROR, "Internal error"),
    "ServerBusy": (errors.SERVER_BUSY, "Server is busy"),
    "ResponseTooBig": (errors.OVERSIZED_RESPONSE, "Response is too big"),
    "Unsafe": (errors.METHOD_NOT_FOUND, "RPC call is unsafe to be called externally"),
    "NeedsWebSocket": (
        errors.NEEDS_WEBSOCKET,
        "Subscriptions are not available on this transport",
    ),
    "TooManySubscriptions": (
        errors.TOO_MANY_SUBSCRIPTIONS,
        "Too many subscriptions on the connection",
    ),
    "ClientError": (errors.CLIENT_ERROR, "Client error"),
    "InvalidBlockRange": (errors.INVALID_BLOCK_RANGE, "Cannot resolve a block range"),
    "RangeTooLarge": (errors.RANGE_TOO_LARGE, "The range or list is too long"),
    "BadFormat": (errors.BAD_FORMAT, "Extrinsic has invalid format"),
    "InvalidTransaction": (errors.INVALID_TRANSACTION, "Invalid Transaction"),
    "UnknownValidity": (errors.UNKNOWN_VALIDITY, "Unknown Transaction Validity"),
    "TemporarilyBanned": (errors.TEMPORARILY_BANNED, "Transaction is temporarily banned"),
    "AlreadyImported": (errors.ALREADY_IMPORTED, "Transaction Already Imported"),
    "PriorityTooLow": (errors.PRIORITY_TOO_LOW, "Priority is too low"),
    "ImmediatelyDropped": (errors.IMMEDIATELY_DROPPED, "Immediately Dropped"),
    "KeysRefused": (errors.KEYS_ERROR, "Keys refused"),
    "StorageKindUnavailable": (
        errors.OFFCHAIN_ERROR,
        "This storage kind is not available yet",
    ),
    "BlobRefused": (errors.BLOB_ERROR, "Blob refused"),
    "CommitteeRefused": (errors.COMMITTEE_ERROR, "Committee request refused"),
    "TooManyFollows": (chain_head.TOO_MANY_FOLLOWS, "Too many follow subscriptions"),
    "NotPinned": (chain_head.NOT_PINNED, "The block is not pinned"),
    "WithoutRuntime": (chain_head.WITHOUT_RUNTIME, "The subscription follows no runtime"),
    "NotWaiting": (chain_head.NOT_WAITING, "The operation waits for nothing"),
    "DuplicateHashes": (chain_head.DUPLICATE_HASHES, "A hash is named twice"),
}
_SUBMISSION = (
    "BadFormat",
    "InvalidTransaction",
    "UnknownValidity",
    "TemporarilyBanned",
    "AlreadyImported",
    "PriorityTooLow",
    "ImmediatelyDropped",
)
_READS = ("ClientError",)
OF_METHODS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("author_submit", _SUBMISSION),
    *((method, ("KeysRefused",)) for method in ("author_rotateKeys", "author_insertKey")),
    *((method, ("KeysRefused",)) for method in ("author_has", "openledger_keyProof")),
    ("offchain_localStorage", ("StorageKindUnavailable",)),
    ("openledger_blob_", ("BlobRefused",)),
    ("openledger_committee", ("CommitteeRefused",)),
    ("openledger_subscribeCommittee", ("CommitteeRefused",)),
    ("openledger_proveFinality", ("RangeTooLarge",)),
    ("openledger_dryRun", _READS),
    ("system_dryRun", _READS),
    ("state_query", ("RangeTooLarge",)),
    ("state_queryStorage", ("InvalidBlockRange",)),
    ("state_getReadProof", ("RangeTooLarge",)),
    ("state_", _READS),
    ("state_subscribeStorage", ("ServerBusy",)),
    ("archive_v1_storage", ("ServerBusy",)),
    ("childstate_", _READS),
    ("payment_", _READS),
    ("chainHead_v1_follow", ("TooManyFollows",)),
    ("chainHead_v1_call", ("WithoutRuntime",)),
    ("chainHead_v1_continue", ("NotWaiting",)),
    ("chainHead_v1_unpin", ("NotPinned", "DuplicateHashes")),
    ("chainHead_v1_body", ("NotPinned",)),
    ("chainHead_v1_call", ("NotPinned",)),
    ("chainHead_v1_header", ("NotPinned",)),
    ("chainHead_v1_storage", ("NotPinned",)),
)
"""Refusals beside the general ones, by the beginning of a method's name."""
_UNQUEUED = ("openledger_blob_", "openledger_committee")
"""Methods that wait for others, but for no turn of their own."""


def errors_of(method: AnyMethod) -> list[str]:
    """Name the errors that a method may answer with, beside those of every request."""
    found = ["InvalidParams"] if method.params else []
    if any(param.name in ("at", "block") for param in method.params):
        found += _READS
    if isinstance(method, LengthyMethod) and not method.name.startswith(_UNQUEUED):
        found.append("ServerBusy")
    if isinstance(method, SubscribeMethod | SessionMethod):
        found.append("NeedsWebSocket")
    if isinstance(method, SubscribeMethod):
        found.append("TooManySubscriptions")
    if method.unsafe:
        found.append("Unsafe")
    for beginning, names in OF_METHODS:
        if method.name.startswith(beginning):
            found += names
    return list(dict.fromkeys(found))
