"""Load the example Datanets that a development chain starts with."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

KEYS = ("licences", "manuals", "python")


@dataclass(frozen=True, slots=True)
class ExampleRecord:
    """Hold one record; `fields` are in the order of the Datanet's schema."""

    contributor: str
    fields: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Portion:
    """Hold what one contributor brings to a Datanet; `licence` is an SPDX expression."""

    contributor: str
    content: str
    licence: str


@dataclass(frozen=True, slots=True)
class ExampleDatanet:
    """Hold a Datanet: schema, owner, licence (SPDX expression) and records.

    The owner and the contributors are names of development accounts. A prompt is the beginning
    of a record, fields joined by newlines: an adapter trained on the records continues it.
    """

    key: str
    title: str
    description: str
    owner: str
    licence: str
    fields: tuple[str, ...]
    portions: tuple[Portion, ...]
    prompts: tuple[str, ...]
    records: tuple[ExampleRecord, ...]

    def records_of(self, contributor: str) -> tuple[ExampleRecord, ...]:
        """Return one contributor's records in order."""
        return tuple(record for record in self.records if record.contributor == contributor)


@cache
def load(key: str) -> ExampleDatanet:
    """Return one of the Datanets named in KEYS.

    Raises:
        KeyError: there is no Datanet of that name.
    """
    if key not in KEYS:
        raise KeyError(f"no example Datanet is called {key!r}; there are {', '.join(KEYS)}")
    folder = files("genesis.data") / key
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return ExampleDatanet(
        key=key,
        title=manifest["title"],
        description=manifest["description"],
        owner=manifest["owner"],
        licence=manifest["licence"],
        fields=tuple(manifest["fields"]),
        portions=tuple(
            Portion(name, portion["content"], portion["licence"])
            for name, portion in manifest["contributors"].items()
        ),
        prompts=tuple(manifest["prompts"]),
        records=tuple(_record(json.loads(line)) for line in lines),
    )


def _record(entry: dict[str, Any]) -> ExampleRecord:
    return ExampleRecord(entry["contributor"], tuple(entry["fields"]), entry["source"])
