from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from inference.cluster.asked import ATTEMPTS, Asked
from inference.cluster.errors import ClusterReason, ClusterRefused
from inference.request import Answer, Finish, Request, Token

REQUEST = Request(prompt_ids=(1, 2), max_tokens=50)
TOKENS = st.lists(st.integers(0, 5), max_size=12).map(
    lambda ids: [Token(token, str(token), -0.5 * at) for at, token in enumerate(ids)]
)


def answer_of(tokens: list[Token], finish: Finish = Finish.LENGTH) -> Answer:
    ids = tuple(token.id for token in tokens)
    return Answer(ids, "".join(token.text for token in tokens), finish, b"", 2)


def reason_of(asked: Asked) -> ClusterReason:
    assert isinstance(asked.failure, ClusterRefused)
    return asked.failure.reason


@given(TOKENS, st.integers(0, 12))
def test_a_second_attempt_of_equal_tokens_gives_each_out_once(
    tokens: list[Token], before: int
) -> None:
    async def scenario() -> None:
        asked = Asked(REQUEST)
        asked.begin(0)
        for token in tokens[:before]:
            asked.token(token)
        assert asked.lose()
        asked.begin(1)
        for token in tokens:
            asked.token(token)
        asked.done(answer_of(tokens))
        assert asked.tokens == tokens
        assert asked.answer == answer_of(tokens)

    trio.run(scenario)


@given(TOKENS.filter(bool), st.data())
def test_a_second_attempt_that_differs_in_what_was_given_out_is_refused(
    tokens: list[Token], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(tokens) - 1))
    other = Token(tokens[at].id, tokens[at].text, tokens[at].logprob - 1e-6)

    async def scenario() -> None:
        asked = Asked(REQUEST)
        asked.begin(0)
        for token in tokens:
            asked.token(token)
        assert asked.lose()
        asked.begin(1)
        for token in [*tokens[:at], other, *tokens[at + 1 :]]:
            asked.token(token)
        assert reason_of(asked) is ClusterReason.ANSWERS_DIFFER
        assert asked.tokens == tokens

    trio.run(scenario)


async def test_a_second_attempt_that_ends_too_early_is_refused() -> None:
    asked = Asked(REQUEST)
    asked.begin(0)
    first = [Token(1, "a", -1.0), Token(2, "b", -1.0)]
    for token in first:
        asked.token(token)
    assert asked.lose()
    asked.begin(1)
    asked.token(first[0])
    asked.done(answer_of(first[:1], Finish.STOP))
    assert reason_of(asked) is ClusterReason.ANSWERS_DIFFER


async def test_a_request_is_computed_twice_at_most() -> None:
    asked = Asked(REQUEST)
    for number in range(ATTEMPTS):
        asked.begin(number)
        asked.token(Token(1, "a", -1.0))
        assert asked.lose() is (number + 1 < ATTEMPTS)
    assert reason_of(asked) is ClusterReason.REPLICA_LOST


async def test_nobody_computes_again_for_a_customer_that_left() -> None:
    asked = Asked(REQUEST)
    asked.begin(0)
    asked.cancelled = True
    assert not asked.lose()
    assert reason_of(asked) is ClusterReason.REPLICA_LOST


@pytest.mark.parametrize("late", [Token(1, "a", -1.0), None])
async def test_what_comes_after_the_end_is_ignored(late: Token | None) -> None:
    asked = Asked(REQUEST)
    asked.begin(0)
    asked.done(answer_of([]))
    if late is None:
        asked.done(answer_of([], Finish.STOP))
    else:
        asked.token(late)
    assert not asked.lose()
    assert asked.tokens == []
    assert asked.answer == answer_of([])
