"""The page: whole, self-contained, and true to its report."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from examples.demo.page import render
from examples.demo.sankey import exact, short
from tests.examples.sample_report import sample_report

VOID = {"meta", "br", "img", "link", "hr"}


class Reader(HTMLParser):
    """Checks that every tag is closed, and collects texts, ids and addresses."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.outside: list[str] = []
        self.text: list[str] = []
        self.bands = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.outside += [v for k, v in found.items() if k in ("src", "srcset", "action")]
        self.bands += "band" in found.get("class", "").split()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page() -> str:
    return render(sample_report())


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_asks_nobody_for_anything(page: str) -> None:
    reader = read(page)
    assert reader.outside == []
    assert all(link.startswith("#") for link in reader.links)
    assert not re.search(r"@import|url\(|<script|<link", page)


def test_every_span_links_to_the_card_of_its_record(page: str) -> None:
    reader = read(page)
    targets = {link.removeprefix("#") for link in reader.links}
    assert len(targets) == 2
    assert targets <= set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)


def test_every_amount_stands_on_the_page_to_the_last_unit(page: str) -> None:
    report = sample_report()
    cells = {text.strip() for text in read(page).text}
    for row in report["payments"]:
        assert exact(int(row["amount"])) in cells
    for row in report["accounts"]:
        assert exact(int(row["before"])) in cells
        assert exact(int(row["after"])) in cells


def test_a_band_is_drawn_for_each_step_of_the_money(page: str) -> None:
    report = sample_report()
    groups = {row["role"] for row in report["payments"]}
    assert read(page).bands == 2 + len(groups) + len(report["payments"])


def test_what_strangers_wrote_stays_text() -> None:
    report = sample_report()
    evil = '<img src=x onerror=alert(1)>"&\u2028'
    for where in (report, *report["answers"]):
        where["prompt"] = evil
    report["model"] = evil
    report["records"][0]["text"] = [evil, evil, evil]
    report["answer"] = evil * 9
    reader = read(render(report))
    assert reader.outside == []
    assert any(evil in text for text in reader.text)


def test_overlapping_spans_show_each_character_once() -> None:
    report = sample_report()
    text = report["answer"]
    first, second = report["spans"]
    report["spans"] = [first | {"start": 0, "end": 20}, second | {"start": 10, "end": 30}]
    shown = re.search(r'<p class="text">(.*?)</p>', render(report), re.S)
    assert shown is not None
    bare = re.sub(r"<sup>\d+</sup>|<[^>]+>", "", shown[1])
    assert bare == text.replace("&", "&amp;").replace("'", "&#x27;")


def test_amounts_are_cut_never_rounded_up() -> None:
    assert (exact(10**18 + 1), short(199_999_999_999_999_999)) == ("1.000000000000000001", "0.1999")
    assert (exact(-5), short(-(10**18))) == ("-0.000000000000000005", "-1.0000")
    assert exact(100 * 10**18) == "100"
