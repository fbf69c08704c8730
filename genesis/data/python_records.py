"""Extract entries of Python's documentation."""

import re
from collections.abc import Iterator
from pathlib import Path

from genesis.data.markup import Node, inline_text, parse, plain
from genesis.data.selection import Candidate, Quota, shorten
from genesis.data.sources import PACKAGES, unpack

FIELDS = ("module", "item", "text")
QUOTAS = {
    **dict.fromkeys(("Alice", "Bob", "Charlie", "Dave"), Quota(75, 8, 4)),
    "Ferdie": Quota(75, 24, 8),
}
_UNREAD = frozenset({"headerlink", "versionmodified", "viewcode-link"})
PORTIONS = {  # contributor: modules whose entries they bring
    "Alice": "string re textwrap difflib stdtypes unicodedata codecs collections heapq bisect "
    "array copy pprint enum json csv configparser html base64 struct",
    "Bob": "os os.path pathlib shutil tempfile io glob fnmatch fileinput stat filecmp zipfile "
    "tarfile gzip lzma sqlite3 pickle shelve zlib logging argparse",
    "Charlie": "threading asyncio-task asyncio-queue asyncio-sync asyncio-stream asyncio-eventloop "
    "concurrent.futures multiprocessing queue sched subprocess signal selectors contextvars select",
    "Dave": "socket ssl http.client http.server urllib.request urllib.parse email.message smtplib "
    "ftplib imaplib ipaddress socketserver xmlrpc.client uuid hashlib hmac secrets http.cookies",
}
_CHAPTERS = (  # Ferdie brings the glossary and the tutorial, which speak of the same things
    "glossary.html", "tutorial/*.html", "faq/design.html", "faq/programming.html",
    "faq/library.html", "howto/sorting.html", "howto/functional.html", "howto/logging.html",
    "howto/regex.html", "howto/unicode.html", "howto/sockets.html", "howto/descriptor.html",
)  # fmt: skip


def _text(entry: Node) -> str:
    """Return an entry's opening paragraphs, up to its first list, listing or note."""
    parts: list[str] = []
    for child in entry.elements():
        if child.tag != "p":
            break
        parts.append(inline_text(child, _UNREAD))
    text = plain(" ".join(parts))
    return shorten(text[:-1] + "." if text.endswith(":") else text)


def _signature(term: Node) -> str:
    """Return an entry's full dotted name and its arguments."""
    shown = re.sub(
        r"\s*([(),=])\s*",
        lambda match: match[1] + (" " if match[1] == "," else ""),
        inline_text(term, _UNREAD),
    )
    _, bracket, arguments = shown.partition("(")
    return f"{term.attributes.get('id', '')}{bracket}{arguments}".strip()


def _module_entries(contributor: str, module: str, page: Path, source: str) -> Iterator[Candidate]:
    tree = parse(page.read_text(encoding="utf-8"))
    title = module.split("-")[0]
    for section in tree.find(tag="section"):
        heading = next((inline_text(n, _UNREAD) for n in section.elements() if n.tag[0] == "h"), "")
        prose = _text(Node("dd", {}, [n for n in section.elements() if n.tag != "h1"]))
        if heading and "-" not in heading[:30]:
            yield Candidate(contributor, (title, re.sub(r"[^ -~]", "", heading), prose), source)
    for listing in tree.find(tag="dl", class_="py"):
        parts = list(listing.elements())
        terms = [part for part in parts if part.tag == "dt"]
        bodies = [part for part in parts if part.tag == "dd"]
        if terms and bodies:
            yield Candidate(contributor, (title, _signature(terms[0]), _text(bodies[0])), source)


def _chapter_entries(page: Path, source: str) -> Iterator[Candidate]:
    tree = parse(page.read_text(encoding="utf-8"))
    title = page.stem if page.parent.name == "html" else f"{page.parent.name}/{page.stem}"
    for listing in tree.find(tag="dl", class_="glossary"):
        term = ""
        for part in listing.elements():
            if part.tag == "dt":
                term = inline_text(part, _UNREAD)
            elif term:
                yield Candidate("Ferdie", (title, term, _text(part)), source)
    for section in tree.find(tag="section"):
        heading = ""
        for node in section.elements():
            if node.tag[0] == "h" and node.tag[1:].isdigit():
                heading = re.sub(r"^[\d. ]+", "", inline_text(node, _UNREAD))
            elif node.tag == "p" and heading:
                text = inline_text(node, _UNREAD)
                if not text.endswith(":"):
                    yield Candidate("Ferdie", (title, heading, shorten(text)), source)


def candidates(cache: Path) -> Iterator[Candidate]:
    """Yield the entries module by module, chapter by chapter."""
    root = unpack(PACKAGES["python3.11-doc"], cache)
    html = root / "usr/share/doc/python3.11/html"
    for contributor, modules in PORTIONS.items():
        for module in modules.split():
            page = html / "library" / f"{module}.html"
            yield from _module_entries(contributor, module, page, f"library/{module}.html")
    for pattern in _CHAPTERS:
        for page in sorted(html.glob(pattern)):
            yield from _chapter_entries(page, page.relative_to(html).as_posix())
