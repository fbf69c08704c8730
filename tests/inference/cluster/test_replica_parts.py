from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.figures import Origin
from inference.cluster.figures_sum import figures_sum, no_figures, without_state
from inference.cluster.node_folder import PREFIX, node_folder
from inference.cluster.outbox import Outbox
from inference.cluster.wire import failure_of, refusal_of
from inference.figures import EngineFigures, Recorder
from inference.request import Finish, RequestReason, RequestRefused, Token
from tests.patience import PATIENCE


@given(st.lists(st.integers(0, 5)), st.data())
def test_reports_that_are_lost_are_given_again_and_none_is_left_out(
    steps: list[int], data: st.DataObject
) -> None:
    outbox = Outbox()
    put = 0
    heard: list[int] = []
    for count in steps:
        for _ in range(count):
            outbox.put((put, Token(put, "", 0.0)))
            put += 1
        first, events = outbox.take(len(heard), 0.0)
        assert first == len(heard)
        if data.draw(st.booleans(), label="the report arrives"):
            heard += [number for number, _ in events]
    heard += [number for number, _ in outbox.take(len(heard), 0.0)[1]]
    assert heard == list(range(put))


def test_who_waits_for_events_hears_of_the_first_and_of_the_end() -> None:
    outbox = Outbox()
    timer = threading.Timer(0.05, outbox.put, [(3, Token(1, "", 0.0))])
    timer.start()
    assert [number for number, _ in outbox.take(0, PATIENCE)[1]] == [3]
    timer = threading.Timer(0.05, outbox.close, ["the engine stopped"])
    timer.start()
    with pytest.raises(RuntimeError, match="the engine stopped"):
        outbox.take(1, PATIENCE)


@pytest.mark.parametrize(
    "refusal",
    [
        RequestRefused(RequestReason.TENANT_QUEUE_FULL, "later", 2.5),
        AdapterRefused(AdapterReason.NOT_FETCHED, "nobody has it"),
    ],
)
def test_a_refusal_survives_the_wire(refusal: RequestRefused | AdapterRefused) -> None:
    again = refusal_of(failure_of(refusal))
    assert (type(again), again.reason, again.detail) == (
        type(refusal),
        refusal.reason,
        refusal.detail,
    )
    assert getattr(again, "retry_after", None) == getattr(refusal, "retry_after", None)


def test_a_folder_is_removed_with_its_process_or_by_the_next_but_never_under_a_living_one(
    tmp_path: Path,
) -> None:
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / "lock").touch()
    living = tmp_path / f"{PREFIX}living"
    living.mkdir()
    with (living / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with node_folder(tmp_path) as folder:
            (folder / "adapter").touch()
            assert not left.exists()
            assert living.exists()
    assert not folder.exists()


def recorded(tokens: dict[str, int]) -> EngineFigures:
    recorder = Recorder()
    for tenant, count in tokens.items():
        for number in range(count):
            recorder.drew(tenant, 0.2, first=number == 0)
    recorder.finished[Finish.STOP] = 2
    return EngineFigures(1, 2, 3, 4, 5, 6, 7, 8, pool=no_figures().pool, recorder=recorder)


def test_figures_add_up_and_a_dead_replica_keeps_only_what_it_did() -> None:
    first, second = recorded({"a": 3, "b": 1}), recorded({"b": 2})
    assert first.pool is not None
    first = EngineFigures(
        1, 2, 3, 4, 5, 6, 7, 8, first.pool.loaded(Origin.DISK, 100, 0.5), first.recorder
    )
    total = figures_sum([first, without_state(second)])
    assert (total.running, total.waiting, total.pages, total.adapters) == (1, 2, 4, 8)
    assert total.preempted == 6
    assert total.recorder.served == {"a": 3, "b": 3}
    assert total.recorder.output_tokens == 6
    assert total.recorder.finished[Finish.STOP] == 4
    assert total.recorder.first_token.count == 3
    assert total.recorder.between_tokens.count == 3
    assert total.pool is not None
    assert total.pool.loads[Origin.DISK].bytes == 100
    assert first.recorder.served == {"a": 3, "b": 1}
