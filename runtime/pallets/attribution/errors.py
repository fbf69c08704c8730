"""Why the pallet refuses, as wallets show it."""

from __future__ import annotations

from enum import IntEnum


class Error(IntEnum):
    """Reasons a call of this pallet fails."""

    NO_DUTY = 0
    """There is no such batch, or its committee is not drawn yet."""
    NOT_A_MEMBER = 1
    """The signer is not a worker of a validator that was drawn for this batch."""
    OUTSIDE_WINDOW = 2
    """Commits are taken until the commit window shuts, reveals and openings only after it."""
    ALREADY_COMMITTED = 3
    """This seat committed before."""
    NOT_COMMITTED = 4
    """This seat did not commit."""
    WRONG_REVEAL = 5
    """What is revealed is not what was committed: same method, codes, verdicts and salt."""
    ALREADY_REVEALED = 6
    """This seat revealed before."""
    WRONG_SHAPE = 7
    """One code and one verdict for each drawn receipt, codes in the model's layout."""
    NOT_EXECUTOR = 8
    """Only the batch's executor opens its receipts."""
    ALREADY_OPENED = 9
    """The receipts were opened before."""
    WRONG_OPENING = 10
    """An opened receipt or report is not the one that the batch commits to."""
    WRONG_COST = 11
    """A receipt's sums are not its tokens at the session's price."""
    WRONG_REPORT = 12
    """A report names another receipt or method, or is not in canonical form."""
    WRONG_WEIGHTS = 13
    """A report's clusters do not follow from its scores and spans."""
    NOT_DUE = 14
    """The batch is not at the end of its windows. Wait, or leave it to the chain."""
    UNKNOWN_METHOD = 15
    """The method is not admitted. See the storage Methods."""
