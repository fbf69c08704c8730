"""Which field of a record an answer drew on, and which of the answer's tokens it shaped.

Influence is bilinear, and a record's gradient is the sum of its tokens' losses' gradients. So the
influence of the loss on one field's tokens is that field's, and the fields' sum is the record's:
what a field would take with it if it had not been learned. Shares explain and are never paid on.
"""

from collections.abc import Sequence

import numpy as np

from inference.attribution.arrays import Float64s, Int64s
from inference.attribution.codes import module_slices
from inference.attribution.gradients import Passage
from inference.attribution.index import IndexedRecord
from inference.attribution.query import Querier, answer_passage
from runtime.primitives.fixed_point import largest_remainder
from runtime.protocols.report import QueryCode


def token_influence(querier: Querier, query: QueryCode, passage: Passage) -> Float64s:
    """Split a record's influence by the record's tokens, float64 [tokens], in score units.

    A token's part is what flowed through its position, δ_t a_tᵀ of the record's one backward pass;
    it helped to predict the tokens behind it.
    """
    trace = querier.model.trace([passage])
    split = querier.projectors.whiten_tokens(trace)[0, : len(passage.tokens)]
    parts: Float64s = split @ _query_values(querier, query)
    return parts


def output_influence(
    querier: Querier, prompt: Sequence[int], output: Sequence[int], position: int
) -> Float64s:
    """Split the influence of the record at a position by the answer's tokens, float64 [output].

    Output token s is credited with the position that predicted it. What flowed through the prompt
    before its last token belongs to no output token, so the parts need not add up to the score.
    """
    trace = querier.model.trace([answer_passage(prompt, output)])
    split = querier.projectors.whiten_tokens(trace)[0]
    record = _record_values(querier, position)
    parts: Float64s = (split @ record)[len(prompt) - 1 : len(prompt) + len(output) - 1]
    return parts


def field_influence(
    querier: Querier, query: QueryCode, record: IndexedRecord, fields: int
) -> Float64s:
    """Compute the influence of each field's loss, float64 [fields], in score units."""
    tokens, scored = record.passage
    owners = record.field_of
    passages = [
        Passage(tokens, tuple(s and o == field for s, o in zip(scored, owners, strict=True)))
        for field in range(fields)
    ]
    parts: Float64s = querier.projectors.whiten(querier.model.trace(passages)) @ _query_values(
        querier, query
    )
    return parts


def field_split(
    querier: Querier, query: QueryCode, record: IndexedRecord, fields: int, score: int
) -> tuple[int, ...]:
    """Split a record's exact score over its fields.

    Args:
        querier: the model and the index.
        query: the canonical query code.
        record: the record as the model was trained on it.
        fields: how many fields the Datanet's schema has.
        score: the record's exact score; the split sums to it.

    Returns:
        One signed integer per field. The error of the record's 2-bit codes, and what a template's
        own tokens carry, is spread by the size of each field's influence.
    """
    sums = [round(float(part)) for part in field_influence(querier, query, record, fields)]
    sizes = [abs(value) for value in sums]
    if not any(sizes):
        sizes = [1] * fields
    rest = score - sum(sums)
    spread = largest_remainder(abs(rest), sizes)
    sign = 1 if rest >= 0 else -1
    return tuple(value + sign * extra for value, extra in zip(sums, spread, strict=True))


def _query_values(querier: Querier, query: QueryCode) -> Float64s:
    """Decode a query so that its product with whitened coordinates is in score units."""
    index = querier.index
    codes = np.frombuffer(query.codes, dtype=np.int8).astype(np.float64)
    least = min(query.exponents)
    for part, exponent, base in zip(
        module_slices(index.layout), query.exponents, index.bases, strict=True
    ):
        # A record code of a score counts 2**base of the coordinate that it stands for.
        codes[part] = np.ldexp(codes[part], exponent - least - int(base))
    return codes


def _record_values(querier: Querier, position: int) -> Float64s:
    """Decode a record's codes to whitened coordinates, float64 [coordinates]."""
    index = querier.index
    packed: Int64s = index.codes[:, position].astype(np.int64)
    bits = packed[:, None] >> np.array([0, 2, 4, 6]) & 3
    values: Float64s = (2 * bits - 3).reshape(-1).astype(np.float64)
    exponents = index.bases.astype(np.int64) + index.offsets[:, position]
    for part, exponent in zip(module_slices(index.layout), exponents, strict=True):
        values[part] = np.ldexp(values[part], int(exponent))
    return values
