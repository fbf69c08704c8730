"""With a third of the stake or more against it the chain may fork; then the culprits are known.

Of every forked state the certificates that the two blocks carry with them are put together: their
own, and those in the proposals of their ancestors. Among them must be two of one view that name
2q - W of the stake or more, and nobody honest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from consensus.core.evidence import fork_proof
from consensus.core.votes import Certificate, certificate
from runtime.primitives.leaders import quorum
from tests.simulation.model.explorer import Configuration, Explorer, State
from tests.simulation.model.guards import Guards


@dataclass(frozen=True)
class Account:
    """How many forked states there are, and the least stake that one of them proves guilty."""

    states: int
    forks: int
    least_guilty: int
    framed: int
    """Forked states whose proof names an honest validator."""


def hold_to_account(
    configuration: Configuration, guards: Guards, limit: int = 2_000_000
) -> Account:
    """Prove every fork that can be reached, with full certificates and with the scantest."""
    explorer = Explorer(configuration, guards)
    tree, honest = configuration.tree, len(configuration.honest)
    states = forks = framed = 0
    least = sum(configuration.weights)
    proofs: dict[tuple[tuple[int, tuple[int, ...]], ...], tuple[int, ...]] = {}
    for state, reached in explorer.walk(limit):
        states += 1
        pairs = [pair for pair in tree.forks if all(reached & tree.finalize(node) for node in pair)]
        forks += bool(pairs)
        for pair in pairs:
            for scant in (False, True):
                key = tuple(_certificates(explorer, state, reached, pair, scant))
                if key not in proofs:
                    proofs[key] = culprits(configuration, key)
                guilty = proofs[key]
                least = min(least, sum(configuration.weights[i] for i in guilty))
                framed += any(i < honest for i in guilty)
    return Account(states, forks, least, framed)


def culprits(
    configuration: Configuration, signed: tuple[tuple[int, tuple[int, ...]], ...]
) -> tuple[int, ...]:
    """Have the product find who is guilty, given the signers of each bit's certificate."""
    subjects, members = configuration.tree.subjects, len(configuration.weights)
    made: list[Certificate] = [
        certificate(subjects[bit], dict.fromkeys(signers, bytes(64)), members)
        for bit, signers in signed
    ]
    return tuple(evidence.first.signer for evidence in fork_proof(made))


def _certificates(
    explorer: Explorer, state: State, reached: int, pair: tuple[int, int], scant: bool
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield each certificate's bit and signers; a scant one has as few byzantine ones as can be."""
    configuration, tree = explorer.configuration, explorer.tree
    bits = {tree.finalize(node) for node in pair}
    for node in pair:
        for step in tree.ancestors(node):
            bits.add(tree.notarize(step))
            bits |= {tree.nullify(view) for view in tree.gap(step)}
    honest = range(len(configuration.honest))
    byzantine = range(len(honest), len(configuration.weights))
    for bit in sorted(bits):
        if reached & bit:
            voters = tuple(i for i in honest if state[i] & bit)
            yield bit, _fewest(configuration, voters, byzantine) if scant else (*voters, *byzantine)


def _fewest(
    configuration: Configuration, voters: tuple[int, ...], byzantine: range
) -> tuple[int, ...]:
    weights = configuration.weights
    needed = quorum(sum(weights)) - sum(weights[i] for i in voters)
    for size in range(len(byzantine) + 1):
        for group in combinations(byzantine, size):
            if sum(weights[i] for i in group) >= needed:
                return (*voters, *group)
    raise RuntimeError("the certificate was reached without a quorum")
