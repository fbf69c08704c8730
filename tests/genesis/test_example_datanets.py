"""The example Datanets are complete, clean and freely redistributable."""

import json
import re
import unicodedata
from pathlib import Path

import pytest

from genesis.accounts import DEVELOPMENT_ACCOUNTS
from genesis.data.sources import PACKAGES
from genesis.datanets import KEYS, ExampleDatanet, load

DATA = Path(__file__).parents[2] / "genesis/data"
LICENCES = {
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "PSF-2.0", "SSH-OpenSSH",
    "curl",
}  # fmt: skip
MARKUP = re.compile(r"\s\s|</?(p|div|span|code|em|b|i)\b|&(nbsp|amp|quot|lt);|\\")
COPYLEFT = re.compile(
    r"\bA?L?GPL|\bGFDL|General Public License|Free Documentation License", re.IGNORECASE
)


@pytest.fixture(params=KEYS)
def datanet(request: pytest.FixtureRequest) -> ExampleDatanet:
    return load(request.param)


def test_there_are_three_datanets_of_different_domains() -> None:
    assert len({load(key).title for key in KEYS}) == 3


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="licences, manuals, python"):
        load("nonsense")


def test_a_datanet_has_at_least_300_records(datanet: ExampleDatanet) -> None:
    assert len(datanet.records) >= 300


def test_at_least_four_accounts_other_than_the_owner_contribute(datanet: ExampleDatanet) -> None:
    names = {record.contributor for record in datanet.records}
    assert len(names) >= 4
    assert datanet.owner not in names
    assert names | {datanet.owner} <= {account.name for account in DEVELOPMENT_ACCOUNTS}


def test_every_contributor_owns_a_portion_of_at_least_fifty(datanet: ExampleDatanet) -> None:
    for portion in datanet.portions:
        assert len(datanet.records_of(portion.contributor)) >= 50
    assert sum(len(datanet.records_of(p.contributor)) for p in datanet.portions) == len(
        datanet.records
    )


def test_records_have_the_fields_of_the_schema_and_none_is_empty(datanet: ExampleDatanet) -> None:
    assert 2 <= len(datanet.fields) <= 16
    for record in datanet.records:
        assert len(record.fields) == len(datanet.fields)
        assert all(field and field == field.strip() for field in record.fields)
        assert sum(len(field.encode()) for field in record.fields) <= 64 * 1024


def test_texts_are_short_plain_paragraphs(datanet: ExampleDatanet) -> None:
    for record in datanet.records:
        text = record.fields[-1]
        assert 30 <= len(text.split()) <= 160
        assert text.isascii()
        assert not MARKUP.search(text), text


def test_no_two_records_have_the_same_canonical_text(datanet: ExampleDatanet) -> None:
    texts = {
        " ".join(unicodedata.ucd_3_2_0.normalize("NFKC", "\n".join(r.fields)).split()).casefold()
        for r in datanet.records
    }
    assert len(texts) == len(datanet.records)


def test_some_subject_is_covered_by_several_contributors() -> None:
    licences = load("licences")
    contributors: dict[str, set[str]] = {}
    for record in licences.records:
        contributors.setdefault(record.fields[0], set()).add(record.contributor)
    assert sum(len(names) > 1 for names in contributors.values()) >= 20


def test_licences_are_permissive(datanet: ExampleDatanet) -> None:
    named = [datanet.licence, *(portion.licence for portion in datanet.portions)]
    assert {part for text in named for part in text.split(" AND ")} <= LICENCES
    for part in datanet.licence.split(" AND "):
        assert (DATA / "licence_texts" / f"{part}.txt").stat().st_size > 100


def test_no_record_is_text_of_a_copyleft_licence() -> None:
    for record in load("licences").records:
        assert not COPYLEFT.search(" ".join(record.fields)), record


def test_provenance_names_pinned_packages_and_every_source_file(datanet: ExampleDatanet) -> None:
    manifest = json.loads((DATA / datanet.key / "manifest.json").read_text())
    files = {file for entry in manifest["provenance"] for file in entry["files"]}
    assert files == {record.source for record in datanet.records}
    for entry in manifest["provenance"]:
        package = PACKAGES[entry["package"]]
        assert (entry["version"], entry["sha256"]) == (package.version, package.sha256)
        assert entry["url"].startswith("https://")
    assert (DATA / datanet.key / "NOTICE").read_text()


def test_the_manifest_counts_the_records(datanet: ExampleDatanet) -> None:
    manifest = json.loads((DATA / datanet.key / "manifest.json").read_text())
    assert manifest["records"] == len(datanet.records)
    assert {name: entry["records"] for name, entry in manifest["contributors"].items()} == {
        p.contributor: len(datanet.records_of(p.contributor)) for p in datanet.portions
    }


def test_each_prompt_is_the_beginning_of_exactly_one_record(datanet: ExampleDatanet) -> None:
    assert len(datanet.prompts) == 3
    for prompt in datanet.prompts:
        begun = [r for r in datanet.records if "\n".join(r.fields).startswith(prompt)]
        assert len(begun) == 1, prompt
        assert len("\n".join(begun[0].fields)) > 1.5 * len(prompt)


def test_files_are_small(datanet: ExampleDatanet) -> None:
    assert (DATA / datanet.key / "records.jsonl").stat().st_size < 600_000
