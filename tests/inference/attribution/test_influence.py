"""Influence on a model whose facts were planted: who is paid, and whether anybody can check it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_world import TEMPLATES, PlantedWorld, passage, prompt_for

from inference.attribution import codes as coding
from inference.attribution.curvature import FitOptions
from inference.attribution.fields import (
    field_influence,
    field_split,
    output_influence,
    token_influence,
)
from inference.attribution.gradients import Passage, traced_model
from inference.attribution.index import IndexedRecord, build_index, code_passages, rank
from inference.attribution.query import answer_passage, querier
from inference.attribution.report import listed
from runtime.primitives.scale import encode
from runtime.protocols import agreement, merkle, scoring
from runtime.protocols.commitments import IndexLeaf
from runtime.protocols.ids import RecordId


def paid_share(world: PlantedWorld, fact: tuple[int, int], scores: coding.Int64s) -> float:
    """Compute the part of the listed records' positive score that states the fact."""
    top = listed(world.index, scores)
    paid = [max(0, scored.score) for scored in top]
    right = [world.records[scored.record.record].fact == fact for scored in top]
    return sum(p for p, hit in zip(paid, right, strict=True) if hit) / max(1, sum(paid))


def test_records_that_state_the_fact_get_most_of_the_pay(world: PlantedWorld) -> None:
    queries = querier(world.model, world.index)
    shares, uniform, first = [], [], 0
    for fact, value in world.facts.items():
        scores = world.index.scores(queries.code(prompt_for(fact), (value,)))
        shares.append(paid_share(world, fact, scores))
        stated = [record.fact == fact for record in world.records]
        uniform.append(sum(stated) / len(stated))
        first += world.records[rank(world.index, scores, 1)[0].record.record].fact == fact
    assert world.losses[1] < world.losses[0] / 2
    assert first >= 0.9 * len(world.facts)
    assert float(np.mean(shares)) > 25 * float(np.mean(uniform))
    assert float(np.mean(shares)) > 0.6


def test_filler_is_paid_next_to_nothing(world: PlantedWorld) -> None:
    queries = querier(world.model, world.index)
    filler = [at for at, record in enumerate(world.records) if record.fact is None]
    total = np.zeros(len(world.records))
    for fact, value in world.facts.items():
        scores = world.index.scores(queries.code(prompt_for(fact), (value,)))
        for scored in listed(world.index, scores):
            total[scored.record.record] += max(0, scored.score) / float(scores.max())
    assert total[filler].sum() / total.sum() < 0.4 * len(filler) / len(world.records)


def test_the_field_that_bears_the_value_gets_the_larger_share(world: PlantedWorld) -> None:
    queries = querier(world.model, world.index)
    shares = []
    for fact, value in world.facts.items():
        query = queries.code(prompt_for(fact), (value,))
        best = rank(world.index, world.index.scores(query), 1)[0]
        split = field_split(queries, query, world.indexed[best.record.record], 2, best.score)
        assert sum(split) == best.score
        shares.append(split[1] / best.score)
    assert float(np.mean(shares)) > 0.7
    assert sum(share > 0.5 for share in shares) > 0.9 * len(shares)


def test_fields_and_tokens_split_the_same_influence(world: PlantedWorld) -> None:
    queries = querier(world.model, world.index)
    fact, value = next(iter(world.facts.items()))
    query = queries.code(prompt_for(fact), (value,))
    tokens, scored = world.indexed[3].passage
    whole = IndexedRecord(RecordId(4, 3), bytes(32), Passage(tokens, scored), (0,) * len(tokens))
    [total] = field_influence(queries, query, whole, 1)
    halves = replace(whole, field_of=(0,) * 4 + (1,) * (len(tokens) - 4))
    assert field_influence(queries, query, halves, 2).sum() == pytest.approx(total, rel=1e-9)
    by_token = token_influence(queries, query, whole.passage)
    assert by_token.sum() == pytest.approx(total, rel=1e-9)


def test_a_record_that_predicts_nothing_has_no_influence(world: PlantedWorld) -> None:
    queries = querier(world.model, world.index)
    fact, value = next(iter(world.facts.items()))
    query = queries.code(prompt_for(fact), (value,))
    lone = IndexedRecord(RecordId(4, 9), bytes(32), Passage((5,), (False,)), (0,))
    assert field_influence(queries, query, lone, 2).tolist() == [0, 0]
    assert field_split(queries, query, lone, 2, -7) == (-4, -3)


def test_token_parts_sum_to_the_whole_and_the_codes_follow_it(world: PlantedWorld) -> None:
    queries = querier(world.model, world.index)
    fact, value = next(iter(world.facts.items()))
    query = queries.code(prompt_for(fact), (value,))
    scores = world.index.scores(query)
    exact = [token_influence(queries, query, r.passage).sum() for r in world.indexed]
    assert float(np.corrcoef(exact, scores)[0, 1]) > 0.95
    best = int(np.argmax(scores))
    parts = output_influence(queries, prompt_for(fact), (value, value), best)
    assert parts.shape == (2,)
    assert parts[0] > 0


def test_codes_do_not_depend_on_threads_or_batches(world: PlantedWorld) -> None:
    passages = [record.passage for record in world.indexed]
    basis, layout = world.index.basis, world.index.layout
    order = np.random.default_rng(0).permutation(len(passages))
    results = []
    for threads, budget, chosen in ((1, 4096, None), (2, 200, None), (1, 400, order)):
        torch.set_num_threads(threads)
        picked = passages if chosen is None else [passages[at] for at in chosen]
        packed, exponents = code_passages(world.model, basis, picked, budget)
        back = slice(None) if chosen is None else np.argsort(order)
        results.append((packed[back], exponents[back]))
    torch.set_num_threads(1)
    settled = coding.offset_records(*results[0], world.index.bases, layout)
    assert (world.index.codes == settled[0].T).all()
    assert (world.index.offsets == settled[1].T).all()
    for packed, exponents in results[1:]:
        assert (packed == results[0][0]).all()
        assert (exponents == results[0][1]).all()


def test_query_codes_are_the_same_integers_in_any_batch_and_thread_count(
    world: PlantedWorld,
) -> None:
    queries = querier(world.model, world.index)
    asked = [(prompt_for(fact), (value,)) for fact, value in list(world.facts.items())[:20]]
    alone = [queries.code(prompt, output) for prompt, output in asked]
    torch.set_num_threads(2)
    again = [queries.code(prompt, output) for prompt, output in reversed(asked)][::-1]
    torch.set_num_threads(1)
    together = queries.projectors.whiten(
        world.model.trace([answer_passage(prompt, output) for prompt, output in asked])
    )
    batched = [coding.encode_query(row, world.index.bases, world.index.layout) for row in together]
    assert alone == again == batched


def test_single_precision_agrees_with_double_within_its_class(world: PlantedWorld) -> None:
    single = traced_model(world.backbone, world.pairs, precision=torch.float32)
    equal, total = 0, 0
    for fact, value in list(world.facts.items())[:20]:
        a = querier(world.model, world.index).code(prompt_for(fact, 1), (value,))
        b = querier(single, world.index).code(prompt_for(fact, 1), (value,))
        layout = world.index.layout
        assert agreement.agree(a.codes, a.exponents, b.codes, b.exponents, layout, agreement.FP32)
        equal += sum(x == y for x, y in zip(a.codes, b.codes, strict=True))
        total += len(a.codes)
    assert equal > 0.999 * total


def test_another_answer_does_not_agree(world: PlantedWorld) -> None:
    queries = querier(world.model, world.index)
    (fact, value), (other, _) = list(world.facts.items())[:2]
    a = queries.code(prompt_for(fact), (value,))
    b = queries.code(prompt_for(other), (value,))
    layout = world.index.layout
    assert not agreement.agree(a.codes, a.exponents, b.codes, b.exponents, layout, agreement.BF16)


def test_the_index_opens_each_leaf_and_scores_like_the_chain(world: PlantedWorld) -> None:
    index = world.index
    fact, value = next(iter(world.facts.items()))
    query = querier(world.model, index).code(prompt_for(fact), (value,))
    scores = index.scores(query)
    root = index.index_root()
    for position in (0, 7, len(index.records) - 1):
        leaf = index.leaf(position)
        path = index.prove(position)
        data = encode(IndexLeaf, leaf)
        assert merkle.verify_path(root, data, position, len(index.records), path)
        scoring.check_record_codes(leaf.codes, leaf.exponents, index.layout)
        exact = scoring.score(
            leaf.codes, leaf.exponents, query.codes, query.exponents, index.layout
        )
        assert exact == scores[position]


def test_building_again_gives_the_same_roots_and_another_seed_does_not(
    world: PlantedWorld,
) -> None:
    few = world.indexed[:40]
    options = FitOptions(coordinates=256, batch_tokens=300)
    first, second = (build_index(world.model, few, options) for _ in range(2))
    other = build_index(world.model, few, FitOptions(coordinates=256, seed=9))
    roots = [(i.index_root(), i.curvature_root(), i.coordinates_root()) for i in (first, second)]
    assert roots[0] == roots[1]
    assert other.curvature_root() != first.curvature_root()
    assert sum(first.layout) <= 256
    assert all(count % 4 == 0 and count > 0 for count in first.layout)


def test_the_traced_gradient_is_the_gradient(world: PlantedWorld) -> None:
    tokens = world.records[0].tokens
    trace = world.model.trace([passage(tokens), passage(tokens[:5])])
    for factor in world.model.factors[::5]:
        pairs = dict(world.model.pairs)
        pair = pairs[factor.site]
        a, b = (t.clone().requires_grad_() for t in (pair.a, pair.b))
        pairs[factor.site] = type(pair)(a, b, pair.scale)
        ids = torch.tensor(tokens)
        scores = world.model.backbone.forward(ids, pairs)[:-1].log_softmax(-1)
        loss = -scores.gather(1, ids[1:, None]).sum()
        [whole] = torch.autograd.grad(loss, [a if factor.side == "A" else b])
        traced = trace.gradients[factor][0].t() @ trace.inputs[factor][0]
        torch.testing.assert_close(traced, whole, rtol=1e-9, atol=1e-12)
        assert float(trace.losses[0]) == pytest.approx(float(loss.detach()), rel=1e-12)


def test_tracing_only_the_last_layer_still_finds_the_records(world: PlantedWorld) -> None:
    model = traced_model(world.backbone, world.pairs, layers=1)
    index = build_index(model, world.indexed, FitOptions(coordinates=2048))
    assert {factor.factor.site.layer for factor in index.basis.factors} == {1}
    queries = querier(model, index)
    found = 0
    for fact, value in list(world.facts.items())[:20]:
        best = rank(index, index.scores(queries.code(prompt_for(fact), (value,))), 1)[0]
        found += world.records[best.record.record].fact == fact
    assert found >= 16


def test_an_untrained_adapter_and_an_unpredicted_first_token_are_refused(
    world: PlantedWorld,
) -> None:
    zero = {
        site: type(pair)(torch.zeros_like(pair.a), torch.zeros_like(pair.b), pair.scale)
        for site, pair in world.pairs.items()
    }
    with pytest.raises(ValueError, match="train it"):
        build_index(traced_model(world.backbone, zero), world.indexed[:5])
    with pytest.raises(ValueError, match="first token"):
        world.model.trace([Passage((1, 2), (True, True))])
    with pytest.raises(ValueError, match="at least one"):
        answer_passage((), (1,))
    with pytest.raises(ValueError, match="rise strictly"):
        build_index(world.model, world.indexed[:5][::-1])


def test_a_paraphrased_question_is_traced_to_the_same_records(world: PlantedWorld) -> None:
    queries = querier(world.model, world.index)
    shares = [
        paid_share(world, fact, world.index.scores(queries.code(prompt_for(fact, t), (value,))))
        for fact, value in list(world.facts.items())[:10]
        for t in range(len(TEMPLATES))
    ]
    assert float(np.mean(shares)) > 0.5
