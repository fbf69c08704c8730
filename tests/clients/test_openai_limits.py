"""The unmodified openai package and a server that is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import HERE, flow
from tests.clients.serve_process import KEY, OTHER_KEY, serving
from tests.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_full_queue_is_a_rate_limit_error_that_patience_overcomes(
    tmp_path: Path, openai_client: Path
) -> None:
    limits = ("--running", "1", "--waiting", "8", "--waiting-per-tenant", "1")
    with serving(tmp_path, *limits) as server:
        script = str(HERE / "py" / "openai_limits_flow.py")
        arguments = [server.url, KEY, OTHER_KEY, str(server.hold)]
        seen = flow([str(openai_client), script, *arguments], HERE)
    assert len(seen["refused"]) == 8
    assert seen["classes"] == {"RateLimitError": len(seen["refused"])}
    for told in seen["refused"]:
        assert (told["code"], told["type"]) == ("tenant_queue_full", "overloaded_error")
        assert int(told["retry_after"]) >= 1
    # Another tenant has a place of its own, and who retries is served in the end.
    assert seen["beside"] == {"class": None}
    assert seen["waited"] == [{"class": None}] * 4


def test_a_signal_lets_streams_finish_and_refuses_new_requests(
    tmp_path: Path, openai_client: Path
) -> None:
    with serving(tmp_path) as server:
        script = str(HERE / "py" / "openai_drain_flow.py")
        arguments = [server.url, KEY, str(server.process.pid), str(server.hold)]
        seen = flow([str(openai_client), script, *arguments], HERE)
        assert server.process.wait(PATIENCE) == 0
    assert seen["finish"] == "length"
    assert seen["tokens"] == seen["asked"]
    assert set(seen["late"]) <= {"InternalServerError", "APIConnectionError"}
    assert seen["late"][0] == "InternalServerError"
    lines = server.log.read_text()
    assert "stopping signal=SIGTERM" in lines
    assert lines.strip().endswith("server stopped")
