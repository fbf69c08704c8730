"""`OverviewApi`: the totals of a front page."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.apis.base import StateApi
from runtime.frame.currency import STAKERS, TREASURY
from runtime.frame.runtime_api import api_method
from runtime.pallets.inference.types import Windows
from runtime.primitives.scale import U32, U64, U128
from runtime.primitives.types import Balance, BlockNumber, Moment
from runtime.protocols.split_parameters import SplitParameters


@dataclass(frozen=True, slots=True)
class OverviewView:
    """Totals of the chain, and the rules that money follows."""

    number: BlockNumber
    """Of the block that this state is behind."""
    time: Moment
    """Of that block, in milliseconds since 1970."""
    epoch: U64
    """Of the next block."""
    validators: U32
    total_issuance: Balance
    treasury: Balance
    stakers: Balance
    """The stakers' share that is not distributed yet."""
    audit_pot: Balance
    """Tops up the committees of audited batches."""
    datanets: U32
    """Created so far; delisted ones count."""
    base_models: U32
    models: U32
    """Proposed so far; deprecated ones count."""
    sessions: U64
    """Opened so far; closed ones count."""
    receipt_batches: U64
    """Submitted so far; void ones count."""
    accusations: U32
    """Raised so far; judged ones count."""
    fee_multiplier: U128
    """Of the weight fee in the next block, with 18 decimals."""
    windows: Windows
    """Lengths in blocks of the phases of a batch and of a closing session."""
    split: SplitParameters
    """How fees are divided, in basis points."""


class OverviewApi(StateApi, version=1):
    """The whole chain in a few figures."""

    @api_method
    def overview(self) -> OverviewView:
        """Return the totals of the chain and the rules that money follows."""
        runtime = self.runtime
        return OverviewView(
            number=self.header.number,
            time=runtime.timestamp.now.get(),
            epoch=runtime.session.current_index.get(),
            validators=len(runtime.session.members.get()),
            total_issuance=runtime.balances.total_issuance.get(),
            treasury=runtime.balances.free(TREASURY),
            stakers=runtime.balances.free(STAKERS),
            audit_pot=runtime.inference.audit_pot.get(),
            datanets=runtime.datanets.next_datanet.get(),
            base_models=runtime.models.next_base.get(),
            models=runtime.models.next_model.get(),
            sessions=runtime.inference.next_session.get(),
            receipt_batches=runtime.inference.next_batch.get(),
            accusations=runtime.datanets.next_flag.get(),
            fee_multiplier=runtime.transaction_payment.next_fee_multiplier.get(),
            windows=runtime.inference.windows.get(),
            split=runtime.inference.split_parameters.get(),
        )
