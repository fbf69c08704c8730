"""The unmodified openai package against a running server: what its users rely on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from genesis.base_model import OPEN_NANO
from inference.backbone.model import Backbone
from tests.clients.conftest import HERE, flow
from tests.clients.serve_process import ADMIN_KEY, KEY, Serving, serving, write_adapters

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module", params=["here", "replicas"])
def engines(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return the options of a server that computes by itself, and of one that has it done."""
    return () if request.param == "here" else ("--ray", "local", "--replicas", "2")


@pytest.fixture(scope="module")
def adapters(engines: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    backbone = Backbone.load(OPEN_NANO)
    write_adapters(folder / "adapters", backbone, {"one": 2, "two": 4, "three": 8})
    write_adapters(folder / "more", backbone, {"extra": 3})
    return folder


@pytest.fixture(scope="module")
def server(engines: tuple[str, ...], adapters: Path) -> Iterator[Serving]:
    one = adapters / "adapters" / "one"
    rest = adapters / "rest"
    rest.mkdir()
    for name in ("two", "three"):
        (adapters / "adapters" / name).rename(rest / name)
    folders = ("--adapters", f"one={one}", "--adapters", str(rest))
    later = adapters / "later"
    later.mkdir()
    with serving(adapters / "run", *folders, "--adapters", str(later), *engines) as running:
        (adapters / "more" / "extra").rename(later / "extra")
        yield running


@pytest.fixture(scope="module")
def seen(server: Serving, adapters: Path, openai_client: Path) -> dict[str, Any]:
    script = str(HERE / "py" / "openai_flow.py")
    later = str(adapters / "later")
    arguments = [server.url, KEY, ADMIN_KEY, later, str(server.hold)]
    return flow([str(openai_client), script, *arguments], HERE)


def test_streamed_and_concurrent_answers_equal_the_whole_ones(seen: dict[str, Any]) -> None:
    answers = seen["answers"]
    assert answers["completed_in_pieces"] == answers["completed"]
    assert [told["text"] for told in answers["chatted_in_pieces"]] == answers["chatted"]
    assert answers["at_once"] == answers["chatted"]
    assert all(told["ids"] == 1 for told in answers["chatted_in_pieces"])


def test_a_seed_repeats_an_answer_and_adapters_differ(seen: dict[str, Any]) -> None:
    answers = seen["answers"]
    assert answers["again"] == answers["completed"]
    assert all(a != b for a, b in zip(answers["other_seed"], answers["completed"], strict=True))
    assert len({*answers["completed"], answers["base"]}) == 4
    assert len(set(answers["chatted"])) == 3


def test_an_answer_has_the_fields_that_openai_documents(seen: dict[str, Any]) -> None:
    whole = seen["answers"]["whole"]
    assert whole["id"].startswith("chatcmpl-")
    assert whole["object"] == "chat.completion"
    assert whole["model"] == "one"
    assert whole["system_fingerprint"].startswith("fp_")
    (choice,) = whole["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in ("stop", "length")
    usage = whole["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 0
    streamed = seen["answers"]["chatted_in_pieces"][0]
    (counted,) = streamed["usage"]
    assert counted["completion_tokens"] == usage["completion_tokens"]
    assert streamed["finish"] == choice["finish_reason"]


def test_several_prompts_and_choices_are_answered_each_on_its_own(seen: dict[str, Any]) -> None:
    several = seen["several"]
    assert len(several["texts"]) == 4
    assert several["pieces"] == several["texts"]
    assert several["texts"][3] == several["alone"]
    assert several["usage"]["completion_tokens"] <= 24
    assert several["ids_prompt_tokens"] == 3


def test_log_probabilities_parse_and_add_up_to_the_text(seen: dict[str, Any]) -> None:
    figures = seen["logprobs"]
    assert figures["streamed"] == figures["chat"]
    data = b"".join(bytes(entry["bytes"]) for entry in figures["chat"])
    assert data.decode("utf-8", "replace") == figures["text"]
    for entry in figures["chat"]:
        top = [other["logprob"] for other in entry["top_logprobs"]]
        assert len(top) == 3
        assert top == sorted(top, reverse=True)
        assert sum(math.exp(logprob) for logprob in top) <= 1 + 1e-6
        assert entry["logprob"] <= top[0]
    told = figures["completion"]
    assert "".join(told["tokens"]) == figures["completion_text"]
    ends = [0]
    for token in told["tokens"]:
        ends.append(ends[-1] + len(token))
    assert told["text_offset"] == ends[:-1]
    for token, logprob, top in zip(
        told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True
    ):
        assert top[token] == logprob
        assert 2 <= len(top) <= 3
    assert figures["without"] is None


def test_sampling_parameters_and_stop_texts_act(seen: dict[str, Any]) -> None:
    sampling = seen["sampling"]
    assert sampling["stopped"] == sampling["greedy"].partition(sampling["stop"])[0]
    assert sampling["reason"] == "stop"
    assert sampling["top_k_one"] == sampling["greedy"]
    assert sampling["min_p_one"] == sampling["greedy"]
    assert sampling["top_k_all"] == sampling["plain"] != sampling["greedy"]
    assert sampling["longest"]["completion_tokens"] <= 3


REFUSED = [
    ("key", "AuthenticationError", 401, "bad_key", None),
    ("key_chat", "AuthenticationError", 401, "bad_key", None),
    ("model", "NotFoundError", 404, "unknown_model", "model"),
    ("retrieve", "NotFoundError", 404, "unknown_model", "model"),
    ("temperature", "BadRequestError", 400, "bad_temperature", "temperature"),
    ("tools", "BadRequestError", 400, "unsupported_parameter", "tools"),
    ("type", "BadRequestError", 400, "bad_parameter", "max_tokens"),
    ("top_logprobs", "BadRequestError", 400, "bad_parameter", "top_logprobs"),
    ("context", "BadRequestError", 400, "context_exceeded", "max_tokens"),
    ("context_streamed", "BadRequestError", 400, "context_exceeded", "max_tokens"),
    ("embeddings", "NotFoundError", 404, "unknown_path", None),
    ("not_admin", "PermissionDeniedError", 403, "not_admin", None),
]


@pytest.mark.parametrize(("case", "kind", "status", "code", "param"), REFUSED)
def test_refusals_become_the_exceptions_that_clients_catch(
    seen: dict[str, Any], case: str, kind: str, status: int, code: str, param: str | None
) -> None:
    found = seen["errors"][case]
    assert (found["class"], found["status"]) == (kind, status)
    assert (found["code"], found["param"]) == (code, param)


def test_adapters_are_listed_loaded_used_and_unloaded(seen: dict[str, Any]) -> None:
    models = seen["models"]
    assert models["before"] == ["open-nano", "one", "three", "two"]
    assert [loaded["id"] for loaded in models["loaded"]] == ["org/extra", "sent", "hashed"]
    assert len({loaded["root"] for loaded in models["loaded"]}) == 1
    assert len(set(models["texts"])) == 1
    assert models["retrieved"]["id"] == "org/extra"
    assert models["retrieved"]["parent"] == "open-nano"
    assert (models["again"]["class"], models["again"]["code"]) == ("ConflictError", "model_exists")
    assert (models["outside"]["status"], models["outside"]["param"]) == (400, "lora_path")
    assert (models["broken"]["status"], models["broken"]["code"]) == (400, "bad_adapter")
    assert (models["unknown"]["status"], models["unknown"]["code"]) == (404, "not_stored")
    assert models["unload"]["id"] == "org/extra"
    assert models["gone"]["class"] == models["gone_use"]["class"] == "NotFoundError"
    assert models["after"] == ["open-nano", "one", "three", "two", "sent", "hashed"]


def test_clients_that_leave_free_the_engine(seen: dict[str, Any], server: Serving) -> None:
    assert seen["left"] == {"pieces": 3, "timed_out": 3}
    server.until_idle()
    figures = server.figures()
    assert figures['openledger_api_requests_total{outcome="left",tenant="alice"}'] == 4
    computed = figures['openledger_api_tokens_total{kind="completion",tenant="alice"}']
    assert computed < 450 * 8


def test_strangers_see_health_alone(server: Serving) -> None:
    assert server.get("/health")["ready"]
    with pytest.raises(HTTPError, match="401"):
        server.get("/v1/models")
    assert KEY not in server.log.read_text()
