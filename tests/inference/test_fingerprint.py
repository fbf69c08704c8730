"""Fingerprints: equal states agree, other states do not, garbage is no fingerprint."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.fingerprint import ENTRY_BYTES, KEPT, deviations, fingerprint_entry

RANDOM = np.random.default_rng(5)
STATES = [RANDOM.standard_normal(192).astype(np.float32) for _ in range(7)]
TAKEN = b"".join(map(fingerprint_entry, STATES))


def test_an_entry_holds_the_largest_magnitudes_in_bfloat16_largest_first() -> None:
    entry = np.frombuffer(fingerprint_entry(STATES[0]), dtype="<u2").reshape(KEPT, 2)
    state = torch.from_numpy(STATES[0])
    best = state.abs().topk(KEPT).indices
    assert entry[:, 0].tolist() == best.tolist()
    rounded = state[best].to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert entry[:, 1].tolist() == rounded.tolist()


def test_ties_are_ordered_by_index() -> None:
    entry = np.frombuffer(fingerprint_entry(np.ones(40, np.float32)), dtype="<u2")
    indices = entry.reshape(KEPT, 2)[:, 0].tolist()
    assert indices == sorted(indices)


def test_the_same_states_deviate_by_their_rounding_only() -> None:
    found = deviations(TAKEN, STATES)
    assert found is not None
    assert len(TAKEN) == ENTRY_BYTES * len(STATES)
    assert 0 < found.max() < 2**-8


def test_disturbed_states_deviate_by_their_disturbance() -> None:
    found = deviations(TAKEN, [state * np.float32(1.1) for state in STATES])
    assert found is not None
    assert found == pytest.approx(0.1, abs=0.005)


def test_other_states_are_far_away() -> None:
    found = deviations(TAKEN, STATES[1:] + STATES[:1])
    assert found is not None
    assert found.min() > 0.5


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        TAKEN[:-1],
        TAKEN + bytes(ENTRY_BYTES),
        bytes(len(TAKEN)),
        b"\xff" * len(TAKEN),
        TAKEN[:4] * (len(TAKEN) // 4),
    ],
)
def test_garbage_is_no_fingerprint(garbage: bytes) -> None:
    assert deviations(garbage, STATES) is None


def test_a_short_state_is_padded() -> None:
    state = np.array([3.0, -4.0], np.float32)
    taken = fingerprint_entry(state)
    assert len(taken) == ENTRY_BYTES
    found = deviations(taken, [state])
    assert found is not None
    assert found.tolist() == [0.0]
