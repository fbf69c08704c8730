"""`python -m examples.demo`: its report adds up, by arithmetic of this file alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.longest]
ROOT = Path(__file__).parents[2]
MOST_SECONDS = 1500
UNTOUCHED = "1000000000000000000000000"
PREMIUM_PARTS = {
    "treasury": 500,
    "burn": 500,
    "owner": 1600,
    "backers": 400,
    "stakers": 2000,
    "contributor": 5000,
}
COMPUTE_PARTS = {"executor": 7000, "committee": 3000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo as a user does."""
    path = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--folder", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return path


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def amounts_by(report: dict[str, Any], key: str) -> dict[str, int]:
    sums: defaultdict[str, int] = defaultdict(int)
    for payment in report["payments"]:
        sums[payment[key]] += int(payment["amount"])
    return dict(sums)


def test_the_payments_are_the_fee_and_the_rest_of_the_escrow_came_back(
    report: dict[str, Any],
) -> None:
    fee = int(report["fee"])
    assert fee > 0
    assert sum(int(p["amount"]) for p in report["payments"]) == fee
    assert int(report["refund"]) + fee == int(report["escrow"])
    assert int(report["compute"]) + int(report["premium"]) == fee
    assert all(int(p["amount"]) > 0 for p in report["payments"])


def test_every_role_got_its_part_of_the_price(report: dict[str, Any]) -> None:
    compute, premium = int(report["compute"]), int(report["premium"])
    roles = amounts_by(report, "role")
    unmatched = roles.pop("refund", 0) + roles.pop("upkeep", 0)
    roles["contributor"] = roles.get("contributor", 0) + unmatched
    assert set(roles) == {*PREMIUM_PARTS, *COMPUTE_PARTS}
    for parts, whole in ((COMPUTE_PARTS, compute), (PREMIUM_PARTS, premium)):
        for role, basis_points in parts.items():
            assert abs(roles[role] * 10_000 - whole * basis_points) < 10_000


def test_the_answers_cost_what_the_customer_paid(report: dict[str, Any]) -> None:
    assert len(report["answers"]) == 3
    assert sum(int(answer["fee"]) for answer in report["answers"]) == int(report["fee"])
    assert len({answer["receipt"] for answer in report["answers"]}) == 3
    tokens = sum(a["prompt_tokens"] + a["completion_tokens"] for a in report["answers"])
    assert int(report["premium"]) % tokens == 0


def test_every_balance_moved_by_what_its_account_did(report: dict[str, Any]) -> None:
    before, after = report["balances_before"], report["balances_after"]
    paid = amounts_by(report, "account")
    explained = {account["address"]: account for account in report["accounts"]}
    assert before.keys() == after.keys()
    for address, old in before.items():
        change = int(after[address]) - int(old)
        if address not in explained:
            assert change == 0
            continue
        moves = {k: int(v) for k, v in explained[address].items() if str(v).lstrip("-").isdigit()}
        assert change == (
            moves["earned"]
            - moves["spent"]
            - moves["unclaimed"]
            - moves["transaction_fees"]
            + moves["author_fees"]
        )
        held = int(report["held_after"][address]) - int(report["held_before"][address])
        assert held == moves["held"]
        if "pot" not in explained[address]["roles"]:
            assert old == UNTOUCHED
            assert moves["earned"] == paid.get(address, 0)
    spent = [int(account["spent"]) for account in report["accounts"] if account["spent"] != "0"]
    assert spent == [int(report["fee"])]


def test_no_unit_appeared_or_vanished_but_what_was_burned(report: dict[str, Any]) -> None:
    issued = int(report["issuance_after"]) - int(report["issuance_before"])
    moved = sum(map(int, report["balances_after"].values())) - sum(
        map(int, report["balances_before"].values())
    )
    assert moved == issued
    fees = sum(int(account["transaction_fees"]) for account in report["accounts"])
    from_fees = -issued - amounts_by(report, "role")["burn"]
    assert 0 <= fees * 20 - from_fees * 100 < 100 * 200  # each fee's fifth, rounded down


def test_contributors_are_paid_for_records_that_shaped_the_answers(
    report: dict[str, Any],
) -> None:
    paid = {p["name"] for p in report["payments"] if p["role"] == "contributor"}
    assert len(paid) >= 2
    named = {r["contributor"] for a in report["answers"] for r in a["records"]}
    assert paid <= named
    for answer in report["answers"]:
        shares = [float(record["share"]) for record in answer["records"]]
        assert shares == sorted(shares, reverse=True)
        assert abs(sum(shares) - 1) < 1e-9
        for record in answer["records"]:
            fields = {field["name"]: float(field["share"]) for field in record["fields"]}
            assert record["field"] == max(fields, key=lambda name: fields[name])
            assert len(record["text"]) == len(fields)


def test_every_span_stands_word_for_word_in_its_record(report: dict[str, Any]) -> None:
    texts = {
        (r["datanet"], r["id"]): "\n".join(r["text"]) + "\n"
        for a in report["answers"]
        for r in a["records"]
    }
    for answer in report["answers"]:
        for span in answer["spans"]:
            quoted = answer["text"][span["start"] : span["end"]]
            assert quoted == span["text"]
            assert quoted.strip() in texts[span["datanet"], span["id"]]


def test_the_page_stands_alone(folder: Path, report: dict[str, Any]) -> None:
    page = (folder / "index.html").read_text()

    class Outside(HTMLParser):
        found: list[str] = []  # noqa: RUF012 (a test's collector)

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [v or "" for k, v in attrs if k == "src" or tag in ("link", "script")]

    Outside().feed(page)
    assert Outside.found == []
    assert page.count("<svg") == 2
    assert report["self_attested"] is ("Self-attested" in page)
