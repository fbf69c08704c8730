"""Choose the records of a Datanet out of candidate paragraphs."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_SHINGLE = 5  # words
_SHORTEST, _LONGEST = 30, 160  # words of a record's last field
_TERMINATED = re.compile(r"[.!?)\"'\]]$")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Hold a paragraph that may become a record.

    `fields` are in the order of the schema, the text last; `source` is the file it stands in.
    """

    contributor: str
    fields: tuple[str, ...]
    source: str

    @property
    def text(self) -> str:
        """Return the last field."""
        return self.fields[-1]


def words(text: str) -> list[str]:
    """Return a text's words in lower case."""
    return re.findall(r"[a-z0-9_]+", text.lower())


def shorten(text: str, limit: int = _LONGEST) -> str:
    """Cut a text after its last whole sentence within `limit` words."""
    pieces = text.split(" ")
    if len(pieces) <= limit:
        return text
    head = " ".join(pieces[:limit])
    end = max(head.rfind(mark) for mark in (". ", "! ", "? "))
    return head[: end + 1] if end > 0 else ""


def is_clean(text: str) -> bool:
    """Tell whether a text is prose: whole sentences, mostly letters, ASCII, of the right length."""
    letters = sum(c.isalpha() or c == " " for c in text)
    return (
        _SHORTEST <= len(text.split(" ")) <= _LONGEST
        and text.isascii()
        and letters > 0.82 * len(text)
        and bool(_TERMINATED.search(text))
        and "\\" not in text
    )


@dataclass(frozen=True, slots=True)
class Quota:
    """Bound what is taken of one contributor: in all, from one source, and in a row from one."""

    records: int
    per_source: int
    in_a_row: int


def choose(
    candidates: Iterable[Candidate], quotas: dict[str, Quota], overlap: float = 0.5
) -> list[Candidate]:
    """Take clean candidates until each contributor's quota is full.

    Sources take turns, each with `in_a_row` candidates. A candidate is left out if more than
    `overlap` of its shingles stand in one chosen record, so near copies are rare. The answer is
    in the candidates' order.
    """
    chosen: list[tuple[int, Candidate]] = []
    owners: dict[int, list[int]] = {}
    taken: Counter[str] = Counter()
    per_source: Counter[tuple[str, str]] = Counter()
    for order, candidate in _in_turns(candidates, quotas):
        name, place = candidate.contributor, (candidate.contributor, candidate.source)
        quota = quotas[name]
        if taken[name] >= quota.records or per_source[place] >= quota.per_source:
            continue
        shingles = _shingles(candidate.text)
        shared = Counter(index for shingle in shingles for index in owners.get(shingle, ()))
        if shared and max(shared.values()) > overlap * len(shingles):
            continue
        for shingle in shingles:
            owners.setdefault(shingle, []).append(len(chosen))
        taken[name] += 1
        per_source[place] += 1
        chosen.append((order, candidate))
    return [candidate for _, candidate in sorted(chosen, key=lambda pair: pair[0])]


def _in_turns(
    candidates: Iterable[Candidate], quotas: dict[str, Quota]
) -> list[tuple[int, Candidate]]:
    """Return (order, candidate) of the clean ones, sources taking turns."""
    seen: Counter[tuple[str, str]] = Counter()
    ranked: list[tuple[int, int, Candidate]] = []
    for order, candidate in enumerate(candidates):
        if not is_clean(candidate.text) or not all(candidate.fields):
            continue
        place = (candidate.contributor, candidate.source)
        ranked.append((seen[place] // quotas[candidate.contributor].in_a_row, order, candidate))
        seen[place] += 1
    ranked.sort(key=lambda entry: entry[:2])
    return [(order, candidate) for _, order, candidate in ranked]


def _shingles(text: str) -> set[int]:
    found = words(text)
    return {hash(tuple(found[i : i + _SHINGLE])) for i in range(len(found) - _SHINGLE + 1)}
