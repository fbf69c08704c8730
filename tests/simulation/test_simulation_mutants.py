"""The simulator has to notice when a rule is broken: each test breaks one on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from consensus.core import certificates, pool, proposing, replica, rules
from tests.simulation.draw import draw
from tests.simulation.node import Node
from tests.simulation.scenario import Scenario, play
from tests.simulation.twins import draw_script, play_twins

SHORT = 20_000
"""A broken chain need not be watched for long."""


def _problems(scenarios: Iterable[Scenario]) -> Iterable[str]:
    for scenario in scenarios:
        scenario.bound = min(scenario.bound, SHORT)
        problem = play(scenario).problem
        if problem is not None:
            yield problem


def _drawn(actors: tuple[str, ...], count: int = 150) -> Iterable[Scenario]:
    return (draw(seed, actors) for seed in range(count))


def _twins(count: int = 80) -> Iterable[str]:
    for seed in range(count):
        problem = play_twins(draw_script(seed), bound=SHORT).problem
        if problem is not None:
            yield problem


def _first(problems: Iterable[str], *names: str) -> str | None:
    """Find the first problem that begins with one of the names."""
    return next((p for p in problems if p.startswith(names)), None)


@pytest.fixture
def no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the core alone decide what is signed."""
    monkeypatch.setattr(Node, "gate", False)


def _without(rule: Callable[..., bool], **fixed: object) -> Callable[..., bool]:
    return lambda **facts: rule(**{**facts, **fixed})


@pytest.mark.usefixtures("no_gate")
def test_finalize_after_nullify_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "may_finalize", _without(rules.may_finalize, own_nullify=False))
    assert _first(_problems(_drawn(())), "I6", "I3") is not None


@pytest.mark.usefixtures("no_gate")
def test_nullify_after_finalize_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(*, view: int, current: int, own_nullify: bool, own_finalize: bool) -> bool:
        return view <= current and not own_nullify

    monkeypatch.setattr(rules, "may_nullify", careless)
    scenarios = _drawn(("nullify_only", "nuller", "equivocator"))
    assert _first(_problems(scenarios), "I6", "I3") is not None


@pytest.mark.usefixtures("no_gate")
def test_a_second_notarize_vote_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Node, "durable_votes", False)
    monkeypatch.setattr(Node, "shows_only_durable_votes", False)
    assert _first(_problems(_drawn(("equivocator",), 400)), "I6", "I2") is not None


def test_a_vote_that_is_not_in_the_log_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Node, "durable_votes", False)
    assert _first(_problems(_drawn((), 3)), "I8") is not None


def test_the_gate_refuses_what_a_broken_core_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "may_finalize", _without(rules.may_finalize, own_nullify=False))
    assert _first(_problems(_drawn(())), "G1") is not None


def test_a_skip_without_certificates_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates.CertificateStore, "nullified", lambda *_: True)
    monkeypatch.setattr(proposing, "_skipped_fit", lambda *_: True)
    monkeypatch.setattr(replica.Replica, "_nullifications", lambda *_: [])
    assert _first(_problems(_drawn(())), "I5", "I1", "I3") is not None


def test_half_a_quorum_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def weak(weight: int, quorum: int) -> bool:
        return 4 * weight >= 3 * quorum

    for module in (rules, certificates, pool):
        monkeypatch.setattr(module, "is_certificate", weak)
    assert _first(_problems(_drawn(("equivocator",))), "I9", "I2", "I3") is not None


def test_a_vote_of_another_epoch_in_this_one_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(self: replica.Replica, vote: object) -> bool:
        return True

    monkeypatch.setattr(replica.Replica, "_is_signed", always)
    problems = _problems(_drawn(("impersonator", "mutating_disrupter")))
    assert _first(problems, "I9", "I6") is not None


@pytest.mark.usefixtures("no_gate")
def test_twins_notice_finalize_after_nullify(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "may_finalize", _without(rules.may_finalize, own_nullify=False))
    assert _first(_twins(), "I6", "I3") is not None


@pytest.mark.usefixtures("no_gate")
def test_twins_notice_a_second_notarize_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "may_notarize", _without(rules.may_notarize, own_notarize=False))
    original = replica.Replica._try_notarize

    def again(self: replica.Replica, view: int, now: int) -> None:
        place = self.rounds.get(view)
        if place is not None and len(place.proposals) == 2:
            place.notarized = None
        original(self, view, now)

    monkeypatch.setattr(replica.Replica, "_try_notarize", again)
    assert _first(_twins(), "I6", "I2") is not None


def test_without_repetition_some_worlds_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica.Replica, "_retry", lambda *_: None)
    monkeypatch.setattr(replica.Replica, "_resend_all", lambda *_: None)
    assert _first(_problems(_drawn((), 60)), "L1") is not None
