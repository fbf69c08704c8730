"""The order in which a tiled image keeps B, so that a warp reads it as tensor core fragments.

B bf16 [outputs, rank] becomes `[⌈outputs/32⌉, ⌈rank/8⌉, 32 lanes, 8]`: 16 bytes per lane, 512
neighbouring bytes per load of a warp. Lane `4·g + q` of unit `u` and eight `e` holds, output by
output, the ranks `8·e + 2·q` and the next of the outputs `32·u + 4·g … + 3`. Missing outputs and
ranks are zero; a rank that is a multiple of 8 and outputs of 32 cost no byte.
"""

from __future__ import annotations

import torch
from torch import Tensor


def tiled_size(outputs: int, rank: int) -> int:
    """Count the elements of a tiled B."""
    return -(-outputs // 32) * -(-rank // 8) * 256


def tile_b(b: Tensor) -> Tensor:
    """Tile [outputs, rank], any dtype, into one dimension."""
    outputs, rank = b.shape
    units, eights = -(-outputs // 32), -(-rank // 8)
    padded = b.new_zeros(units * 32, eights * 8)
    padded[:outputs, :rank] = b
    split = padded.view(units, 8, 4, eights, 4, 2)  # unit, g, output, eight, q, pair
    return split.permute(0, 3, 1, 4, 2, 5).reshape(-1)


def untile_b(tiled: Tensor, outputs: int, rank: int) -> Tensor:
    """Restore [outputs, rank] from what `tile_b` made of it."""
    units, eights = -(-outputs // 32), -(-rank // 8)
    split = tiled.view(units, eights, 8, 4, 4, 2)
    padded = split.permute(0, 2, 4, 1, 3, 5).reshape(units * 32, eights * 8)
    return padded[:outputs, :rank].contiguous() if rank else torch.empty_like(padded[:outputs, :0])
