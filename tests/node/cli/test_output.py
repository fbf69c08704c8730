"""What commands print: words for people, names for programs."""

from __future__ import annotations

import json

import pytest

from node.cli.output import Output, Planck

FACTS = {
    "held for": {"compute in": Planck(3), "DatanetDeposit": Planck(4)},
    "last settled nonce": 5,
}


def test_programs_read_names_of_several_words_in_camel_case(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = Output(as_json=True)
    out.facts(FACTS)
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "heldFor": {"computeIn": "3", "DatanetDeposit": "4"},
        "lastSettledNonce": 5,
    }
    out.rows("things", [FACTS])
    assert json.loads(capsys.readouterr().out) == [told]


def test_people_read_words(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).facts(FACTS)
    assert "last settled nonce: 5\n" in capsys.readouterr().out
