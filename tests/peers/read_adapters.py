"""Load adapters with peft and write the merged models' logits.

`read_adapters.py BASE IDS.npz OUT.npz ADAPTER...`; the array `ids` of IDS is the sequence.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import peft
import torch
from write_adapters import loaded, logits


def main() -> None:
    """Compute the logits of each adapter, under its folder's name."""
    base, given, out, *folders = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    with np.load(given) as arrays:
        ids = torch.from_numpy(arrays["ids"])
    computed = {}
    for folder in folders:
        adapted = peft.PeftModel.from_pretrained(loaded(base), folder)
        computed[folder.name] = logits(adapted.merge_and_unload(), ids)
    np.savez(out, **computed)


if __name__ == "__main__":
    main()
