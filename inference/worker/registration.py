"""The worker's entry on chain, made and changed with the validator's key where that is at hand."""

from __future__ import annotations

from inference.log import Log
from inference.worker.chain_view import ChainView
from node.client.signing import KeyPair
from runtime.construct import encode_call
from runtime.pallets.inference.pallet import ownership_message
from runtime.pallets.inference.types import Worker
from runtime.primitives.keys import ss58_encode

_LOG = Log("worker")


async def register(
    view: ChainView,
    key: KeyPair,
    validator: KeyPair | None,
    endpoint: str,
    models: tuple[int, ...],
    capacity: int,
) -> None:
    """Register or update the worker; without the validator's key only say what is missing.

    Raises ChainError where the chain refuses.
    """
    known: Worker | None = await view.storage("Inference", "Workers", key.account_id)
    address = ss58_encode(key.account_id)
    wanted = (endpoint.encode(), models, capacity)
    if known is not None and (known.endpoint, known.models, known.capacity) == wanted:
        _LOG.info("worker is registered", key=address, validator=ss58_encode(known.validator))
        return
    if validator is None:
        _tell_what_is_missing(known, address)
        return
    offer = {"endpoint": wanted[0], "models": models, "capacity": capacity}
    if known is None:
        proof = key.sign(ownership_message(view.genesis, key.account_id, validator.account_id))
        call = encode_call("Inference", "register_worker", key=key.account_id, proof=proof, **offer)
    else:
        call = encode_call("Inference", "update_worker", key=key.account_id, **offer)
    await view.submit(call, validator)
    done = "worker registered" if known is None else "worker updated"
    _LOG.info(done, key=address, endpoint=endpoint, capacity=capacity)


def _tell_what_is_missing(known: Worker | None, address: str) -> None:
    if known is None:
        _LOG.warning(
            "worker is not registered: customers cannot open sessions with it; start it once with "
            "--validator-uri",
            key=address,
        )
    else:
        _LOG.warning(
            "the chain has another endpoint, models or capacity for this worker; start it once "
            "with --validator-uri to change them",
            key=address,
            endpoint=known.endpoint.decode(),
        )
