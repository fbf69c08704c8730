from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from node.rpc.json_values import shown
from node.rpc.methods.explorer import PAGES
from node.rpc.reference import reference
from runtime.construct import PALLETS
from runtime.frame.pallet import calls, events
from runtime.frame.runtime_api import api_methods
from tests.clients.conftest import npm_program
from tests.node.rpc.described_node import LEFT_OUT, Described, described

__all__ = ["described"]

ROOT = Path(__file__).parents[3]
PACKAGES = ROOT / "build" / "openrpc"
META_SCHEMA, JSON_SCHEMA = "@open-rpc/meta-schema@1.14.9", "@json-schema-tools/meta-schema@1.8.0"


@pytest.fixture(scope="session")
def meta_schema() -> Draft7Validator:
    """Install the official schemas of OpenRPC documents, once, and read them."""
    openrpc = PACKAGES / "node_modules" / "@open-rpc" / "meta-schema"
    if not (openrpc / "index.js").exists():
        PACKAGES.mkdir(parents=True, exist_ok=True)
        options = ["--prefix", str(PACKAGES), "--ignore-scripts", "--no-audit", "--no-fund"]
        command = [*npm_program(), "install", *options, META_SCHEMA, JSON_SCHEMA]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    source = (openrpc / "index.js").read_text()
    begin = source.index("{", source.index("exports.openrpcDocument = {"))
    document, _ = json.JSONDecoder().raw_decode(source, begin)
    plain = PACKAGES / "node_modules" / "@json-schema-tools" / "meta-schema" / "schema.json"
    shapes = Resource(json.loads(plain.read_text()), DRAFT7)
    url = "https://meta.json-schema.tools"
    registry = Registry().with_resources([(url, shapes), (f"{url}/", shapes)])
    return Draft7Validator(document, registry=registry)


def validator(described: Described, schema: dict[str, Any]) -> Draft7Validator:
    """Return a validator of a schema that may refer to the document's shapes."""
    whole = {"components": described.document["components"], "allOf": [schema]}
    return Draft7Validator(whole)


def problems(described: Described, schema: dict[str, Any], value: Any) -> list[str]:
    found = validator(described, schema).iter_errors(value)
    return [f"{list(e.absolute_path)}: {e.message}"[:300] for e in found]


def methods(described: Described) -> dict[str, dict[str, Any]]:
    return {method["name"]: method for method in described.document["methods"]}


def test_the_document_is_openrpc(described: Described, meta_schema: Draft7Validator) -> None:
    assert [e.message for e in meta_schema.iter_errors(described.document)] == []
    assert described.document["openrpc"] == "1.3.2"


def test_the_official_schema_refuses_what_is_not_openrpc(
    described: Described, meta_schema: Draft7Validator
) -> None:
    for spoil in ({"params": {}}, {"result": None}, {"errors": ["bad"]}, {"extra": 1}):
        spoilt = copy.deepcopy(described.document)
        spoilt["methods"][0].update(spoil)
        assert not meta_schema.is_valid(spoilt), spoil


def test_every_served_name_is_described_once(described: Described) -> None:
    told: list[str] = []
    for name, method in methods(described).items():
        told += [name, *method.get("x-aliases", [])]
    assert sorted(told) == described.result("rpc_methods")["methods"]


def test_every_method_says_what_it_does_takes_and_gives(described: Described) -> None:
    for name, method in methods(described).items():
        assert len(method["summary"]) > 10, name
        assert method["result"]["schema"] != {}, name
        assert method.get("x-subscription", {"result": 1})["result"] != {}, name
        for param in method["params"]:
            assert param["schema"] != {}, (name, param)
            assert param["description"], (name, param)


def test_required_parameters_come_before_others(described: Described) -> None:
    for name, method in methods(described).items():
        needed = [param["required"] for param in method["params"]]
        assert needed == sorted(needed, reverse=True), name


def test_every_reference_leads_somewhere_and_every_shape_is_used(described: Described) -> None:
    components = described.document["components"]
    text = json.dumps(described.document)
    used = {part.split('"')[0] for part in text.split("#/components/")[1:]}
    for reference_ in used:
        kind, _, name = reference_.partition("/")
        assert name in components[kind], reference_
    for name in components["schemas"]:
        assert f"schemas/{name}" in used, f"{name} is described and nowhere used"
    for name, shape in components["schemas"].items():
        Draft7Validator.check_schema(shape)
        assert "description" in shape or "properties" in shape or "oneOf" in shape, name


def test_everything_without_side_effects_is_asked(described: Described) -> None:
    asked = {asked.method for asked in described.asked}
    assert set(methods(described)) - asked == LEFT_OUT


def test_answers_have_the_shape_that_is_described(described: Described) -> None:
    table = methods(described)
    for asked in described.asked:
        if "result" in asked.answer:
            shape = table[asked.method]["result"]["schema"]
            found = problems(described, shape, asked.answer["result"])
            assert found == [], (asked.method, asked.params)


def test_errors_have_a_code_that_is_described(described: Described) -> None:
    table, codes = methods(described), described.document["components"]["errors"]
    for asked in described.asked:
        if "error" in asked.answer:
            names = [e["$ref"].rpartition("/")[2] for e in table[asked.method]["errors"]]
            known = {codes[name]["code"] for name in names}
            assert asked.answer["error"]["code"] in known, asked


def test_methods_of_a_connection_say_that_http_cannot_have_them(described: Described) -> None:
    errors = {
        method["name"]: {error["$ref"].rpartition("/")[2] for error in method["errors"]}
        for method in described.document["methods"]
    }
    groups = ("chainHead_", "transaction_", "transactionWatch_", "archive_v1_s")
    mine = {name for name in errors if name.startswith(groups)}
    assert len(mine) == 17
    assert {name for name in mine if "NeedsWebSocket" not in errors[name]} == set()
    assert "NeedsWebSocket" not in errors["archive_v1_header"]
    assert "ServerBusy" in errors["archive_v1_storageDiff"]


def test_parameters_that_are_taken_have_the_shape_that_is_described(described: Described) -> None:
    table = methods(described)
    for asked in described.asked:
        if "result" in asked.answer:
            for param, value in zip(table[asked.method]["params"], asked.params, strict=False):
                if value is not None:
                    found = problems(described, param["schema"], value)
                    assert found == [], (asked.method, param["name"])


def test_notifications_have_the_shape_that_is_described(described: Described) -> None:
    table = methods(described)
    told = {name for name, _ in described.told}
    subscriptions = {name for name, method in table.items() if "x-subscription" in method}
    assert subscriptions - told == {"openledger_subscribeCommitteeInbox"}
    for name, result in described.told:
        shape = table[name]["x-subscription"]["result"]
        assert problems(described, shape, result) == [], name


def test_all_pages_calls_and_events_can_be_shown(described: Described) -> None:
    types = [method.output for api in PAGES for method in api_methods(api).values()]
    for pallet in PALLETS:
        types += [t for call in calls(pallet).values() for t in call.arguments.values()]
        types += [t for event in events(pallet).values() for t in event.fields.values()]
    for type_ in types:
        Draft7Validator.check_schema(shown(type_).schema)


def test_the_reference_for_people_is_up_to_date(described: Described) -> None:
    written = (ROOT / "docs" / "rpc.md").read_text()
    assert written == reference(described.document), "python -m scripts.rpc_reference --write"
