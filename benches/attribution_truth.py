"""Compare influence with the truth: retrain on random halves of a planted Datanet.

    python -m benches.attribution_truth [--subsets 60] [--steps 250]

For each query and half, the summed scores of the records in it predict the answer's log-probability
after retraining on it; the linear datamodelling score (Park et al. 2023, arXiv 2303.14186) is the
mean Spearman correlation over queries. Beside it stands the score of knowing exactly which records
state the queried fact.
"""

from __future__ import annotations

import argparse
from datetime import date

import numpy as np
import torch
from numpy.typing import NDArray

from inference.attribution.curvature import FitOptions
from inference.attribution.gradients import traced_model
from inference.attribution.index import IndexedRecord, build_index
from inference.attribution.query import querier
from inference.backbone.lora import LoraPairs
from inference.backbone.model import Backbone
from runtime.protocols.ids import RecordId
from tests.inference.attribution import planted_world as planted

Floats = NDArray[np.float64]
Facts = dict[tuple[int, int], int]


def answer_scores(backbone: Backbone, pairs: LoraPairs, facts: Facts) -> Floats:
    """Return the log-probability of each fact's value, float64 [queries]."""
    with torch.no_grad():
        ids = torch.tensor([planted.prompt_for(fact) for fact in facts])
        scores = backbone.forward(ids, pairs)[:, -1].log_softmax(-1)
    values = torch.tensor(list(facts.values()))
    found: Floats = scores.gather(1, values[:, None])[:, 0].double().numpy()
    return found


def spearman(a: Floats, b: Floats) -> float:
    """Correlate ranks; the values here have no ties."""
    ranks = [np.argsort(np.argsort(side)) for side in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def datamodelling_score(influence: Floats, halves: Floats, truth: Floats) -> float:
    """Average over queries; influence [queries, records], halves [m, records], truth [m, q]."""
    predicted = halves @ influence.T
    return float(np.mean([spearman(predicted[:, q], truth[:, q]) for q in range(len(influence))]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subsets", type=int, default=60)
    parser.add_argument("--steps", type=int, default=250)
    options = parser.parse_args()
    torch.set_num_threads(1)
    records, facts = planted.plant_records()
    backbone = planted.small_backbone()
    rows = [record.tokens for record in records]
    rng = np.random.default_rng(0)
    halves = np.zeros((options.subsets, len(rows)))
    truth = np.zeros((options.subsets, len(facts)))
    for number in range(options.subsets):
        kept = rng.permutation(len(rows))[: len(rows) // 2]
        halves[number, kept] = 1
        subset = [rows[at] for at in kept]
        pairs, _ = planted.fine_tune(backbone, subset, options.steps, seed=100 + number)
        truth[number] = answer_scores(backbone, pairs, facts)
        print(f"\rretrained {number + 1} of {options.subsets}", end="", flush=True)
    # The ties of this indicator are broken by a millionth, at random.
    stated = np.array([[float(r.fact == fact) for r in records] for fact in facts])
    stated += rng.random(stated.shape) * 1e-6
    print(f"\n{date.today()}  {len(rows)} records, {len(facts)} queries")
    print(f"knowing the stated facts: {datamodelling_score(stated, halves, truth):.3f}")
    pairs, _ = planted.fine_tune(backbone, rows, 2 * options.steps)
    indexed = [
        IndexedRecord(RecordId(1, at), bytes(32), planted.passage(row), (0,) * len(row))
        for at, row in enumerate(rows)
    ]
    for layers in (None, 1):
        model = traced_model(backbone, pairs, layers=layers)
        for coordinates in (2048, 4096, 8192, 1 << 30):
            index = build_index(model, indexed, FitOptions(coordinates=coordinates))
            queries = querier(model, index)
            codes = [queries.code(planted.prompt_for(f), (v,)) for f, v in facts.items()]
            scores = np.array([index.scores(code) for code in codes], dtype=np.float64)
            size = (len(index.codes) + len(index.offsets)) / 1024
            found = datamodelling_score(scores, halves, truth)
            traced = "all layers" if layers is None else "last layer"
            print(f"{traced}, {sum(index.layout):5} coordinates, {size:.1f} KB: {found:.3f}")


if __name__ == "__main__":
    main()
