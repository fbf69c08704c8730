"""Which errors a person can mend: those are told in a line, all others with their traceback."""

from __future__ import annotations

from consensus.core.votes import InvalidFinalityProof
from consensus.engine.position import BrokenChain
from genesis.spec import InvalidChainSpec
from node.errors import NodeError
from runtime.primitives.errors import Refusal

TOLD = (
    NodeError,
    InvalidChainSpec,
    InvalidFinalityProof,
    BrokenChain,
    Refusal,
)


def told(error: BaseException) -> str | None:
    """Return one line for the person at the terminal; None where a traceback says more."""
    if isinstance(error, BaseExceptionGroup):
        texts = {told(inner) for inner in error.exceptions}
        return "; ".join(sorted(filter(None, texts))) if None not in texts else None
    if isinstance(error, TOLD):
        return str(error)
    return str(error) if isinstance(error, OSError) and error.errno is not None else None
