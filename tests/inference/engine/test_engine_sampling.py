from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.cpu_executor import HeldRows
from inference.digest import LogitsDigest, sixteenths
from inference.sampling import (
    SamplingParams,
    SamplingReason,
    SamplingRefused,
    choose,
    gumbel,
    margin,
)
from inference.stopping import StopScanner

LOGITS = np.random.default_rng(3).normal(0, 2, 50).astype(np.float32)
PARAMS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    top_k=st.integers(0, 60),
    top_p=st.floats(0.05, 1.0),
    min_p=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**64 - 1),
)


@given(PARAMS, st.integers(0, 1000))
def test_the_chosen_token_alone_lost_by_nothing(params: SamplingParams, index: int) -> None:
    token = choose(LOGITS, params, index)
    margins = [margin(LOGITS, params, index, other) for other in range(50)]
    assert margins[token] == 0.0
    assert sum(lost == 0.0 for lost in margins) == 1


def test_greedy_takes_the_lowest_of_equal_ids() -> None:
    assert choose(np.float32([1, 3, 3, 0]), SamplingParams(), 0) == 1


def test_draws_follow_the_softmax() -> None:
    logits = np.log(np.float32([0.5, 0.3, 0.15, 0.05]))
    params = SamplingParams(temperature=1.0, seed=11)
    counts = np.bincount([choose(logits, params, i) for i in range(4000)], minlength=4)
    assert counts / 4000 == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_filters_keep_what_they_say() -> None:
    logits = np.log(np.float32([0.4, 0.3, 0.2, 0.1]))

    def drawn(**changes: float) -> set[int]:
        params = [SamplingParams(temperature=1.0, seed=s, **changes) for s in range(300)]
        return {choose(logits, p, 0) for p in params}

    assert drawn() == {0, 1, 2, 3}
    assert drawn(top_k=2) == {0, 1}
    assert drawn(top_p=0.65) == {0, 1}
    assert drawn(min_p=0.4) == {0, 1, 2}
    assert drawn(top_k=1) == {0}


def test_top_k_breaks_ties_by_id() -> None:
    params = [SamplingParams(temperature=1.0, top_k=2, seed=s) for s in range(100)]
    assert {choose(np.zeros(6, np.float32), p, 0) for p in params} == {0, 1}


def test_noise_depends_on_seed_and_index_only_and_is_pinned() -> None:
    assert np.array_equal(gumbel(5, 9, 20), gumbel(5, 9, 30)[:20])
    assert not np.array_equal(gumbel(5, 9, 20), gumbel(5, 10, 20))
    assert not np.array_equal(gumbel(5, 9, 20), gumbel(6, 9, 20))
    pinned = [0.7642710960219897, 2.3997369067618393, 0.07129201785202445]
    assert gumbel(5, 9, 3) == pytest.approx(pinned, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"temperature": -1.0}, SamplingReason.BAD_TEMPERATURE),
        ({"temperature": math.nan}, SamplingReason.BAD_TEMPERATURE),
        ({"temperature": 1e-9}, SamplingReason.BAD_TEMPERATURE),
        ({"top_k": -1}, SamplingReason.BAD_TOP_K),
        ({"top_p": 0.0}, SamplingReason.BAD_TOP_P),
        ({"min_p": 1.5}, SamplingReason.BAD_MIN_P),
        ({"seed": 2**64}, SamplingReason.BAD_SEED),
    ],
)
def test_parameters_outside_their_range_are_refused(
    changes: dict[str, float], reason: SamplingReason
) -> None:
    with pytest.raises(SamplingRefused) as caught:
        SamplingParams(**changes)
    assert caught.value.reason is reason


def test_log_probabilities_sum_to_one() -> None:
    rows = HeldRows(LOGITS.astype(np.float32)[None], np.zeros((1, 4), np.float32))
    logprobs = [rows.logprob(0, token) for token in range(len(LOGITS))]
    assert np.exp(logprobs).sum() == pytest.approx(1.0)


def digest_of(*rows: np.ndarray) -> bytes:
    digest = LogitsDigest()
    for row in rows:
        digest.add(*sixteenths(row.astype(np.float32)))
    return digest.digest()


def test_a_digest_forgives_the_last_bits_and_nothing_else() -> None:
    base = np.round(LOGITS * 16) / 16
    assert digest_of(base) == digest_of(base * (1 + 1e-6))
    changed = base.copy()
    changed[np.argmax(base)] += 0.0625
    assert digest_of(base) != digest_of(changed)
    assert digest_of(base, changed) != digest_of(changed, base)
    assert digest_of(base) != digest_of(base, base)


def test_a_digest_takes_vocabularies_below_sixteen() -> None:
    assert len(digest_of(np.zeros(3))) == 32


@given(st.text(alphabet="abc", max_size=30), st.lists(st.integers(1, 4), min_size=30, max_size=30))
def test_text_ends_before_the_first_stop_however_it_arrives(text: str, cuts: list[int]) -> None:
    stops = ("abca", "cc")
    scanner = StopScanner(stops)
    shown = ""
    stopped = False
    rest = text
    for cut in cuts:
        piece, stopped = scanner.push(rest[:cut])
        shown += piece
        rest = rest[cut:]
        if stopped or not rest:
            break
    if not stopped:
        shown += scanner.finish()
    found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    assert stopped == bool(found)
    if len(found) == 1:
        assert shown == text[: found[0]]
    assert not any(stop in shown for stop in stops)


def test_the_parameters_hash_names_every_parameter() -> None:
    hashes = {
        SamplingParams(**changes).content_hash
        for changes in (
            {},
            {"temperature": 0.5},
            {"top_k": 1},
            {"top_p": 0.5},
            {"min_p": 0.5},
            {"seed": 1},
        )
    }
    assert len(hashes) == 6
