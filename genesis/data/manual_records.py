"""Extract paragraphs of Unix manual pages under permissive licences."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genesis.data.manuals import is_permissive, render, source_of
from genesis.data.markup import Node, inline_text, plain
from genesis.data.selection import Candidate, Quota, shorten
from genesis.data.sources import PACKAGES, unpack

FIELDS = ("page", "entry", "text")
QUOTAS = {
    "Bob": Quota(75, 9, 4), "Charlie": Quota(75, 45, 10), "Dave": Quota(75, 40, 10),
    "Eve": Quota(75, 4, 3), "Ferdie": Quota(75, 3, 2),
}  # fmt: skip
_UNREAD_SECTIONS = frozenset(
    {"NAME", "SYNOPSIS", "SEE ALSO", "AUTHORS", "AUTHOR", "COPYRIGHT", "AVAILABILITY", "HISTORY",
     "KEYWORDS", "EXAMPLE", "STANDARDS", "EXAMPLES", "PROTOCOLS"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Portion:
    """Say which pages of a package one contributor brings."""

    contributor: str
    package: str
    pages: str  # pattern of file names


PORTIONS = (
    Portion("Bob", "openssh-client", r"^(ssh|scp|sftp|ssh-add|ssh-agent|ssh-keygen)\."),
    Portion("Bob", "openssh-server", r"^(sshd|sftp-server)\."),
    Portion("Bob", "libarchive-tools", r"^bsd(tar|cpio)\."),
    Portion("Bob", "libarchive-dev", r"^(tar|cpio|mtree|libarchive-formats|archive_read_disk|"
            r"archive_write_disk|archive_read|archive_write)\."),
    Portion("Charlie", "openssh-client", r"^ssh_config\."),
    Portion("Charlie", "openssh-server", r"^sshd_config\."),
    Portion("Dave", "tmux", r"^tmux\."),
    Portion("Dave", "mandoc", r"^(mandoc|mdoc|man|mandoc_char|eqn|tbl|apropos|makewhatis|roff)\."),
    Portion("Eve", "libssl-doc", r"^(SSL_|SSL_CTX|EVP_(Digest|Encrypt|PKEY_(sign|encrypt|derive|"
            r"keygen))|RAND_|X509_|BIO_s_|PEM_|crypto\.|ssl\.|ERR_|OSSL_PROVIDER)"),
    Portion("Ferdie", "libcurl4-doc", r"^(CURLOPT_(SSL|TLS|PROXY|HTTP|URL|TIME|USER|SSH|FTP|COOKIE|"
            r"POST|READ|WRITE|DNS|TCP|LOW|MAX|FOLLOW|CONNECT|CA|KEYP|NETRC|ERROR|FAIL|RES)|"
            r"libcurl|curl_(easy|multi)_|CURLINFO_)"),
)  # fmt: skip


def _entries(section: Node, heading: str) -> Iterator[tuple[str, str]]:
    """Yield (heading, paragraph) of a section, and (term, explanation) of its lists."""
    for child in section.elements():
        if child.tag == "p":
            yield heading, inline_text(child)
        elif child.tag == "dl":
            term = ""
            for part in child.elements():
                if part.tag == "dt":
                    term = inline_text(part)
                elif part.tag == "dd" and term:
                    yield term, _explanation(part)
                    term = ""
        elif child.tag in {"div", "section"}:
            yield from _entries(child, heading)


def _explanation(entry: Node) -> str:
    """Return an entry's running text, without the listings and lists inside it."""
    parts: list[str] = []
    for child in entry.children:
        if isinstance(child, str):
            parts.append(child)
        elif child.tag not in {"dl", "ul", "ol", "pre", "table", "div"}:
            parts.append(" " + inline_text(child) + (" " if child.tag == "p" else ""))
        else:
            break
    text = re.sub(r"\s+([.,;:)])", r"\1", plain("".join(parts)))
    return re.sub(r"\(\s+", "(", text)


def _page_candidates(portion: Portion, page: Path, cache: Path, source: str) -> Iterator[Candidate]:
    tree = render(page, cache)
    title = re.sub(r"(\w+)\.(\d)\w*(\.gz)?$", r"\1(\2)", page.name)
    for section in tree.find(tag="section", class_="Sh"):
        heading = next((inline_text(node) for node in section.find(tag="h1")), "")
        if heading in _UNREAD_SECTIONS:
            continue
        for entry, text in _entries(section, heading.lower()):
            if re.search(r"\$ |%%|: *$|following|^Note:?$", text[-12:]):
                continue
            yield Candidate(portion.contributor, (title, entry, shorten(text)), source)


def candidates(cache: Path) -> Iterator[Candidate]:
    """Yield paragraphs portion by portion; pages under a copyleft licence are left out."""
    for portion in PORTIONS:
        root = unpack(PACKAGES[portion.package], cache)
        for page in sorted(root.glob("usr/share/man/man*/*")):
            if page.is_symlink() or not re.match(portion.pages, page.name):
                continue
            if is_permissive(source_of(page)):
                source = f"{portion.package}/{page.relative_to(root).as_posix()}"
                yield from _page_candidates(portion, page, cache, source)
