from __future__ import annotations

import pytest

from inference.request import Request, RequestReason, RequestRefused, check_request


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request((), 1), RequestReason.EMPTY_PROMPT),
        (Request((1,), 0), RequestReason.BAD_MAX_TOKENS),
        (Request((300,), 1), RequestReason.UNKNOWN_TOKEN),
        (Request((-1,), 1), RequestReason.UNKNOWN_TOKEN),
        (Request((1,) * 200, 57), RequestReason.CONTEXT_EXCEEDED),
        (Request((1,) * 100, 29), RequestReason.CONTEXT_EXCEEDED),
        (Request((1,), 1, stop=("",)), RequestReason.BAD_STOP),
        (Request((1,), 1, logprobs=21), RequestReason.BAD_LOGPROBS),
        (Request((1,), 1, logprobs=-1), RequestReason.BAD_LOGPROBS),
    ],
)
def test_requests_that_could_never_run_are_refused(
    request_: Request, reason: RequestReason
) -> None:
    cache = 128 if len(request_.prompt_ids) == 100 else 999
    with pytest.raises(RequestRefused) as caught:
        check_request(request_, context=256, vocabulary=300, cache=cache)
    assert caught.value.reason is reason


def test_the_longest_request_that_fits_is_taken() -> None:
    check_request(Request((299,) * 200, 56, logprobs=20), context=256, vocabulary=300, cache=256)
