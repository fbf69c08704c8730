"""`system_dryRun` and `openledger_dryRun`: what the next block would make of an extrinsic."""

from __future__ import annotations

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod
from node.rpc.errors import execution_failed
from node.rpc.params import Param, hash32, hex_bytes, to_hex
from runtime.apis.dry_run import DryRun
from runtime.primitives.scale import decode, encode

_PARAMS = (
    Param("extrinsic", hex_bytes, doc="The signed extrinsic, with its length prefix."),
    Param("at", hash32, optional=True, doc="The block to build on; by default the best one."),
)
_SHAPE = schema.shared(
    "DryRun",
    schema.record(
        valid=schema.BOOLEAN,
        refusal=schema.nullable(schema.record(reason=schema.TEXT, detail=schema.TEXT)),
        fee=schema.DECIMAL,
        weight=schema.record(refTime=schema.DECIMAL, proofSize=schema.DECIMAL),
        success=schema.BOOLEAN,
        error=schema.nullable(
            schema.record(pallet=schema.TEXT, name=schema.TEXT, text=schema.TEXT)
        ),
        events=schema.array(schema.HEX),
    ),
)


def dry_run_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""

    async def execute(extrinsic: bytes, at: bytes | None) -> DryRun:
        limit = backend.pool.limits.extrinsic_bytes
        if len(extrinsic) > limit:
            raise execution_failed(
                f"TooLarge: the extrinsic has {len(extrinsic)} bytes, the limit is {limit}"
            )
        data = encode(bytes, extrinsic)
        answer = await backend.run_api("DryRunApi_dry_run_extrinsic", data, at)
        outcome: DryRun = decode(DryRun, answer)
        return outcome

    async def applied(extrinsic: bytes, at: bytes | None) -> str:
        """Execute an extrinsic on a block and keep nothing; answer `ApplyExtrinsicResult`.

        The answer is SCALE: `0x0000` for success, `0x0001…` with the `DispatchError` of a call
        that fails, `0x01…` with the reason why no block would carry the extrinsic.
        """
        return to_hex((await execute(extrinsic, at)).applied)

    async def told(extrinsic: bytes, at: bytes | None) -> object:
        """Execute an extrinsic on a block, keep nothing, and tell all that came of it.

        `valid` says whether a block would carry it, and `refusal` why not; `success` says whether
        the call does what it says, and `error` why not. The fee, in planck, holds the tip; a
        refused extrinsic's is what it would have to pay. `events` are SCALE event records.
        Extrinsics that wait in the pool are not executed before it.
        """
        return _shape(await execute(extrinsic, at))

    return [
        LengthyMethod(
            "system_dryRun",
            applied,
            _PARAMS,
            ("system_dryRunAt",),
            result=schema.HEX,
            unsafe=True,
        ),
        LengthyMethod("openledger_dryRun", told, _PARAMS, result=_SHAPE),
    ]


def _shape(run: DryRun) -> object:
    refusal, error = run.refusal, run.error
    return {
        "valid": refusal is None,
        "refusal": refusal and {"reason": refusal.reason, "detail": refusal.detail},
        "fee": str(run.fee),
        "weight": {
            "refTime": str(run.weight.ref_time),
            "proofSize": str(run.weight.proof_size),
        },
        "success": refusal is None and error is None,
        "error": error and {"pallet": error.pallet, "name": error.name, "text": error.text},
        "events": [to_hex(event) for event in run.events],
    }
