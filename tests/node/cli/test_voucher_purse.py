"""The purse: nonces rise through every crash, and the ceiling covers every voucher."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.cli.voucher_purse import Purse, PurseReason, PurseRefusal
from node.client.signing import from_uri
from runtime.protocols.voucher import SessionView, check_request

GENESIS = b"\x07" * 32
KEY = from_uri("//Eve//vouchers")


def purse(folder: Path, session: int = 3, least: int = 0) -> Purse:
    return Purse(folder, GENESIS, session, KEY, least_nonce=least)


def view(*, last: int, charged: int = 0, reserved: int = 0, escrow: int = 100) -> SessionView:
    return SessionView(GENESIS, 3, KEY.account_id, escrow, last, charged, reserved)


def test_an_executor_takes_every_voucher_of_a_session(tmp_path: Path) -> None:
    charged = 0
    with purse(tmp_path) as mine:
        for number in range(1, 5):
            body = b"request %d" % number
            signed = mine.sign(body, max_fee=20, escrow=100, valid_until=9)
            assert signed.voucher.nonce == number
            check_request(signed, body, view(last=number - 1, charged=charged), height=9)
            mine.charge(signed.voucher, 7)
            charged += 7
        assert mine.ceiling == charged


def test_open_requests_are_covered_together(tmp_path: Path) -> None:
    with purse(tmp_path) as mine:
        mine.sign(b"a", max_fee=20, escrow=100, valid_until=9)
        second = mine.sign(b"b", max_fee=20, escrow=100, valid_until=9)
    check_request(second, b"b", view(last=1, reserved=20), height=1)


def test_the_ceiling_never_exceeds_the_escrow(tmp_path: Path) -> None:
    with purse(tmp_path) as mine:
        for _ in range(9):
            signed = mine.sign(b"a", max_fee=20, escrow=100, valid_until=9)
        assert signed.voucher.authorised == 100


def test_a_nonce_is_on_disk_before_its_voucher_leaves(tmp_path: Path) -> None:
    with purse(tmp_path) as mine:
        mine.sign(b"a", max_fee=5, escrow=100, valid_until=9)
        stored = json.loads((tmp_path / "session-3.json").read_text())
    assert (stored["nonce"], stored["ceiling"]) == (1, 5)
    with purse(tmp_path) as again:
        assert again.sign(b"b", max_fee=5, escrow=100, valid_until=9).voucher.nonce == 2
        assert again.ceiling == 10  # what became of the first voucher is not known


def test_a_crash_while_writing_loses_nothing(tmp_path: Path) -> None:
    with purse(tmp_path) as mine:
        mine.sign(b"a", max_fee=5, escrow=100, valid_until=9)
    (tmp_path / "session-3.new").write_text('{"genesis": "07')
    with purse(tmp_path) as again:
        assert again.nonce == 1


def test_nonces_go_on_above_what_the_chain_settled(tmp_path: Path) -> None:
    with purse(tmp_path, least=41) as mine:
        assert mine.sign(b"a", max_fee=5, escrow=100, valid_until=9).voucher.nonce == 42


def test_two_processes_cannot_hold_one_purse(tmp_path: Path) -> None:
    with purse(tmp_path), pytest.raises(PurseRefusal) as refused:
        purse(tmp_path)
    assert refused.value.reason is PurseReason.LOCKED


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", PurseReason.DAMAGED),
        ("[]", PurseReason.DAMAGED),
        ('{"genesis": "07"}', PurseReason.DAMAGED),
        ('{"genesis": "x", "session": 3, "nonce": -1, "ceiling": 0}', PurseReason.DAMAGED),
        ('{"genesis": "x", "session": 3, "nonce": true, "ceiling": 0}', PurseReason.DAMAGED),
        ('{"genesis": "x", "session": 3, "nonce": 1, "ceiling": 0}', PurseReason.WRONG_SESSION),
    ],
)
def test_a_damaged_or_foreign_purse_is_refused_and_not_locked(
    tmp_path: Path, content: str, reason: PurseReason
) -> None:
    file = tmp_path / "session-3.json"
    file.write_text(content)
    with pytest.raises(PurseRefusal) as refused:
        purse(tmp_path)
    assert refused.value.reason is reason
    file.unlink()
    with purse(tmp_path) as fresh:
        assert fresh.nonce == 0
