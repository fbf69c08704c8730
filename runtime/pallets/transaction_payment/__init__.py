"""Transaction payment."""

from runtime.pallets.transaction_payment.pallet import TransactionPayment

__all__ = ["TransactionPayment"]
