"""The JSON that clients of the ecosystem expect for headers, blocks and versions."""

from __future__ import annotations

from node.rpc import schema
from node.rpc.params import to_hex
from runtime.primitives.header import Block, DigestItem, Header
from runtime.primitives.scale import encode
from runtime.primitives.version import RuntimeVersion

HEADER = schema.shared(
    "Header",
    schema.record(
        parentHash=schema.HASH,
        number=schema.HEX_NUMBER,
        stateRoot=schema.HASH,
        extrinsicsRoot=schema.HASH,
        digest=schema.record(logs=schema.array(schema.HEX)),
    ),
)
BLOCK = schema.shared(
    "SignedBlock",
    schema.record(
        block=schema.record(header=HEADER, extrinsics=schema.array(schema.HEX)),
        justifications=schema.nullable(
            schema.array(schema.array(schema.array({"type": "integer"}), 2))
        ),
    ),
)
VERSION = schema.shared(
    "RuntimeVersion",
    schema.record(
        specName=schema.TEXT,
        implName=schema.TEXT,
        authoringVersion=schema.U32,
        specVersion=schema.U32,
        implVersion=schema.U32,
        apis=schema.array({"type": "array", "items": [schema.HEX, schema.U32]}),
        transactionVersion=schema.U32,
        systemVersion=schema.U32,
        stateVersion=schema.U32,
    ),
)


def header_shape(header: Header) -> dict[str, object]:
    """Show a header; its number is hex, its digest items are SCALE."""
    return {
        "parentHash": to_hex(header.parent_hash),
        "number": hex(header.number),
        "stateRoot": to_hex(header.state_root),
        "extrinsicsRoot": to_hex(header.extrinsics_root),
        "digest": {"logs": [to_hex(encode(DigestItem, item)) for item in header.digest]},
    }


def block_shape(block: Block, proof: bytes | None, engine: bytes) -> dict[str, object]:
    """Show a block, its extrinsics with their length prefix, and its finality proof."""
    return {
        "block": {
            "header": header_shape(block.header),
            "extrinsics": [to_hex(extrinsic) for extrinsic in block.extrinsics],
        },
        "justifications": None if proof is None else [[list(engine), list(proof)]],
    }


def version_shape(version: RuntimeVersion) -> dict[str, object]:
    """Show the version of the rules as `state_getRuntimeVersion` does."""
    return {
        "specName": version.spec_name,
        "implName": version.impl_name,
        "authoringVersion": version.authoring_version,
        "specVersion": version.spec_version,
        "implVersion": version.impl_version,
        "apis": [[to_hex(name), number] for name, number in version.apis],
        "transactionVersion": version.transaction_version,
        "systemVersion": version.system_version,
        "stateVersion": version.system_version,
    }
