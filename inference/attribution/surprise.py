"""How many bits a token is worth: a committed table of fixed-point ``-log2 p``, in integers.

The table is computed without floating point, so every machine that holds the corpus derives the
same bytes.
"""

import numpy as np

from inference.attribution.arrays import Int64s, UInt16s, UInt32s

FRACTION_BITS = 10
"""A table entry counts 1/1024 bit; uint16 therefore reaches 63.99 bits."""


def log2_fixed(number: int) -> int:
    """Compute floor(log2(number) * 2**FRACTION_BITS) exactly, by repeated squaring."""
    if number < 1:
        raise ValueError("log2 of a number below 1: counts start at 1")
    whole = number.bit_length() - 1
    # 1.0 <= mantissa < 2.0 with 62 fractional bits; squaring doubles its logarithm.
    mantissa = number << 62 >> whole
    result = whole
    for _ in range(FRACTION_BITS):
        mantissa = mantissa * mantissa >> 62
        result <<= 1
        if mantissa >> 63:
            mantissa >>= 1
            result |= 1
    return result


def surprise_table(tokens: UInt32s, vocabulary: int) -> UInt16s:
    """Build the add-one unigram table, uint16 [vocabulary], of ``-log2 p`` in 1/1024 bit."""
    if vocabulary < 1 or (tokens.size and int(tokens.max()) >= vocabulary):
        raise ValueError("a token id lies outside the vocabulary: pass the tokenizer's full size")
    counts: Int64s = np.bincount(tokens, minlength=vocabulary)
    total = log2_fixed(int(tokens.size) + vocabulary)
    distinct, inverse = np.unique(counts, return_inverse=True)
    values = [min(total - log2_fixed(int(count) + 1), 0xFFFF) for count in distinct]
    return np.array(values, dtype=np.uint16)[inverse]
