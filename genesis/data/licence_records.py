"""Extract clauses of permissive licences from the SPDX licence list."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from genesis.data.markup import plain
from genesis.data.selection import Candidate, Quota, shorten
from genesis.data.sources import PACKAGES, unpack

FIELDS = ("licence", "section", "text")
QUOTAS = dict.fromkeys(("Bob", "Charlie", "Dave", "Eve"), Quota(90, 12, 6))
LICENCES = (
    "Apache-2.0", "AFL-3.0", "Artistic-2.0", "CC-BY-4.0", "CC0-1.0", "MIT", "BSD-3-Clause",
    "ECL-2.0", "CDLA-Permissive-1.0", "ODC-By-1.0", "PDDL-1.0", "MulanPSL-2.0", "MS-PL",
    "OFL-1.1", "UPL-1.0", "BSL-1.0", "ISC", "Zlib", "W3C-20150513", "Unicode-3.0",
    "BlueOak-1.0.0", "CECILL-B", "CC-BY-3.0", "OGL-UK-3.0", "PSF-2.0", "Python-2.0",
    "CNRI-Python", "OLDAP-2.8", "PHP-3.01", "Zend-2.0", "ZPL-2.1", "NCSA", "Apache-1.1",
    "AFL-2.1", "CDLA-Permissive-2.0", "Artistic-1.0", "CC-BY-3.0-US", "CC-BY-3.0-IGO",
    "CC-BY-2.5", "CC-BY-2.0", "CC-BY-1.0", "EUDatagrid", "libpng-2.0", "curl", "Bitstream-Vera",
    "W3C-19980720", "W3C", "ICU", "X11", "XFree86-1.1", "Xnet", "NTP", "PostgreSQL", "TCL",
    "NAIST-2003", "EFL-2.0", "ECL-1.0", "CNRI-Jython", "AFL-1.2", "AFL-1.1", "AFL-2.0",
    "Condor-1.1", "DOC", "FTL", "FDK-AAC", "BSD-2-Clause-Patent", "BSD-3-Clause-Clear",
    "BSD-3-Clause-LBNL", "BSD-4-Clause", "BSD-Source-Code", "Entessa", "HPND",
    "HPND-sell-variant", "IJG", "ImageMagick", "Intel", "Info-ZIP", "JasPer-2.0", "Libpng",
    "MIT-CMU", "MIT-open-group", "MIT-Modern-Variant", "MITNFA", "MirOS", "MulanPSL-1.0",
    "NBPL-1.0", "NetCDF", "NIST-Software", "NLOD-2.0", "NLOD-1.0", "OGL-UK-2.0", "OGL-UK-1.0",
    "OGL-Canada-2.0", "OFFIS", "OCCT-PL", "OGC-1.0", "OML", "OpenSSL", "OLDAP-2.7",
    "OLDAP-2.0.1", "OLDAP-1.4", "OLDAP-1.1", "Plexus", "Qhull", "RSA-MD", "SGI-B-2.0", "SMLNJ",
    "SSH-OpenSSH", "SWL", "Spencer-94", "TCP-wrappers", "TU-Berlin-2.0", "Unicode-DFS-2016",
    "Unicode-TOU", "Unlicense", "VSL-1.0", "Vixie-Cron", "WordNet", "Xerox", "Zed", "ZPL-1.1",
    "ZPL-2.0", "blessing", "bzip2-1.0.6", "eGenix", "etalab-2.0", "gnuplot", "iMatix",
    "libtiff", "mpich2", "psutils", "xinetd", "Net-SNMP", "O-UDA-1.0", "C-UDA-1.0",
    "CERN-OHL-P-2.0", "UCL-1.0", "ANTLR-PD", "AML", "AMPAS", "APAFML", "Adobe-2006",
    "Adobe-Glyph", "BOLA-1.1", "Boehm-GC", "CFITSIO", "CrystalStacker", "DL-DE-BY-2.0",
    "DRL-1.1", "FSFAP", "FreeBSD-DOC", "HDF5", "HaskellReport", "JPNIC", "LiLiQ-P-1.1",
    "Linux-OpenIB", "MMIXware", "MTLL", "NICTA-1.0", "Noweb", "OAR", "OpenMDW-1.0",
    "OpenPBS-2.3", "ParaType-Free-Font-1.3", "SCEA", "SNIA", "Sendmail-8.23", "TORQUE-1.1",
    "TTYP0", "UMich-Merit", "w3m", "ESA-PL-permissive-2.4", "OGDL-Taiwan-1.0", "OPL-UK-3.0",
    "Community-Spec-1.0", "Catharon", "GD", "DSDP", "softSurfer", "snprintf", "threeparttable",
    "radvd", "python-ldap", "libselinux-1.0", "cve-tou",
)  # fmt: skip
_TOPICS = (  # (what a clause is about, who brings such clauses, its words)
    ("definitions", "Eve", r'^[\d.()a-z ]*"?[A-Z][\w /]+"? (shall mean|means|is defined|refers to)'
     r"|^definitions|\bdefinitions?\b.{0,40}$"),
    ("liability", "Dave", r"\bliab|damages|LIAB|DAMAGES|indemni"),
    ("warranty", "Dave", r"\bas[ -]is\b|\bAS[ -]IS\b|WARRANT|warrant"),
    ("patents", "Bob", r"\bpatent"),
    ("termination", "Eve", r"\bterminat|\bbreach|reinstate"),
    ("law", "Eve", r"jurisdiction|governed by|venue|severab|enforce|waive[rd]\b|entire agreement"
     r"|treaty|arbitration|statutory"),
    ("grant", "Bob", r"\bgrant|permission is hereby|permission to use|is (hereby )?permitted"
     r"|free of charge|royalty|may freely|you may (use|copy|distribute|make)|without restriction"),
    ("trademarks", "Charlie", r"trade ?mark|endorse|promote products|advertis|logo"),
    ("conditions", "Charlie", r"\bmust\b|shall|provided that|conditions|redistribut|retain|notice"
     r"|attribut|acknowledg"),
    ("purpose", "Eve", r"$^"),
)  # fmt: skip


def topic(text: str) -> tuple[str, str]:
    """Return a clause's section, whose words it has most of, and who brings such clauses."""
    head, contributor, pattern = _TOPICS[0]
    if re.search(pattern, text):
        return head, contributor
    found = [(len(re.findall(pattern, text, re.IGNORECASE)), name) for name, _, pattern in _TOPICS]
    most = max(count for count, _ in found[1:-1])
    section = next((name for count, name in found[1:-1] if most and count == most), "purpose")
    return section, next(contributor for name, contributor, _ in _TOPICS if name == section)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n[ \t]*\n", text.replace("\r", "")):
        cleaned = plain(re.sub(r"(?m)^[ \t]*(?:[*#/;%]+|--+)[ \t]?", " ", paragraph))
        if not re.search(r"<[^>]+>|\{\{|\[(name|year|copyright)", cleaned, re.IGNORECASE):
            yield cleaned


def candidates(cache: Path) -> Iterator[Candidate]:
    """Yield the clauses of the chosen licences, licence by licence; none that speaks of GNU."""
    folder = unpack(PACKAGES["spdx-license-list"], cache) / "package/licenses"
    for name in LICENCES:
        entry = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for paragraph in _paragraphs(entry["licenseText"]):
            text = shorten(paragraph)
            if re.search(r"\bGNU\b|\bL?GPL|copyleft|^\(c\)|^copyright", paragraph, re.IGNORECASE):
                continue
            section, contributor = topic(text)
            yield Candidate(contributor, (name, section, text), f"licenses/{name}.json")
