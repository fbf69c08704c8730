"""The extraction keeps prose, drops markup, and lets nothing of the Datanets into the corpus."""

import lzma
import re
from pathlib import Path

import pytest

from genesis.data.manuals import is_permissive
from genesis.data.markup import blocks, inline_text, parse
from genesis.data.notices import opening_comment
from genesis.data.selection import Candidate, Quota, choose, is_clean, shorten
from genesis.datanets import KEYS, load

CORPUS = Path(__file__).parents[2] / "genesis/data/corpus"
SENTENCE = "The {} reads a line of text from the standard input and writes it, {} times, to the "
SENTENCE += "standard output, unless it was told to stop before by somebody who knows {} better."


def _candidate(contributor: str, source: str, *words: str) -> Candidate:
    return Candidate(contributor, ("name", SENTENCE.format(*words)), source)


def test_blocks_follow_the_page_and_keep_listings_as_they_are() -> None:
    page = parse(
        "<body><nav>menu</nav><h1>Title<a class='headerlink'>¶</a></h1><p>One \u2018two\u2019"
        "<p>three &amp; four<ul><li>five<li>six</ul><pre>a\n  b\n</pre><script>x</script></body>"
    )
    found = [(block.tag, block.text) for block in blocks(page, frozenset({"headerlink"}))]
    assert found == [
        ("h1", "Title"), ("p", "One 'two'"), ("p", "three & four"), ("li", "five"), ("li", "six"),
        ("pre", "a\n  b"),
    ]  # fmt: skip


def test_inline_text_separates_blocks_and_breaks_with_a_space() -> None:
    assert inline_text(parse("<div>a<br>b<p>c</p>d</div>")) == "a b c d"


def test_a_text_is_cut_after_its_last_whole_sentence() -> None:
    assert shorten("One two three. Four five six. Seven eight.", limit=7) == (
        "One two three. Four five six."
    )
    assert shorten("one two three four", limit=3) == ""


@pytest.mark.parametrize(
    "text",
    [
        "too short to be a record.",
        SENTENCE.format("tool", "many", "it")[:-1],  # ends inside a sentence
        "= + * 17 " * 20 + ".",
        SENTENCE.format("caf\u00e9", "many", "it"),
    ],
)
def test_what_is_no_plain_paragraph_is_not_clean(text: str) -> None:
    assert not is_clean(text)


def test_quotas_bound_contributors_and_sources_and_near_copies_are_dropped() -> None:
    varied = [" ".join(f"{w}{n}" for w in "abcdefghij") for n in range(6)]
    candidates = [
        _candidate("Bob", "one", varied[0], varied[0], varied[0]),
        _candidate("Bob", "one", varied[0], varied[0], varied[0]),
        _candidate("Bob", "one", varied[1], varied[1], varied[1]),
        _candidate("Bob", "one", varied[2], varied[2], varied[2]),
        _candidate("Bob", "two", varied[3], varied[3], varied[3]),
        _candidate("Bob", "two", varied[4], varied[4], varied[4]),
    ]
    long = [Candidate(c.contributor, (c.fields[0], c.text), c.source) for c in candidates]

    def taken(records: int, per_source: int) -> list[int]:
        quotas = {"Bob": Quota(records, per_source, in_a_row=1)}
        return [long.index(candidate) for candidate in choose(long, quotas)]

    assert taken(records=9, per_source=9) == [0, 2, 3, 4, 5]
    assert taken(records=9, per_source=2) == [0, 2, 4, 5]
    assert taken(records=3, per_source=2) == [0, 4, 5]


def test_pages_under_copyleft_licences_are_refused() -> None:
    assert is_permissive('.\\" Permission to use, copy, modify, and distribute\n.Sh NAME')
    assert not is_permissive('.\\" under the terms of the GNU General\n.\\" Public License')
    assert not is_permissive('.\\" GNU General Public License version 2')


def test_the_opening_comment_of_a_page_is_its_notice() -> None:
    source = (
        '.\\" $Id: x $\n.\\" Copyright (c) 2001 A. Body\n.\\"\n.\\" Do as you like.\n.Dd today\n'
    )
    assert "Copyright (c) 2001 A. Body\n\nDo as you like." in opening_comment(source)


@pytest.mark.slow
def test_the_corpus_shares_no_twelve_words_in_a_row_with_a_record() -> None:
    def shingles(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"[a-z0-9]+", text.lower())
        return {tuple(words[i : i + 12]) for i in range(len(words) - 11)}

    records = {s for key in KEYS for r in load(key).records for s in shingles(r.fields[-1])}
    corpus = lzma.decompress((CORPUS / "corpus.txt.xz").read_bytes()).decode()
    assert not any(records & shingles(line) for line in corpus.split("\n"))


def test_the_corpus_is_small_enough_to_be_kept_and_says_whose_it_is() -> None:
    assert (CORPUS / "corpus.txt.xz").stat().st_size <= 8_000_000
    assert "Copyright: Ericsson AB" in (CORPUS / "NOTICE").read_text().replace("1996-2023 ", "")
