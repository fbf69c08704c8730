"""What every answer of a node must be, whatever it was asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
from jsonschema import Draft7Validator

from node.rpc import errors

GENERAL = frozenset(
    (
        errors.PARSE_ERROR,
        errors.INVALID_REQUEST,
        errors.METHOD_NOT_FOUND,
        errors.INVALID_PARAMS,
        errors.OVERSIZED_REQUEST,
        errors.OVERSIZED_RESPONSE,
        errors.OVERSIZED_BATCH,
        errors.SERVER_BUSY,
        errors.NEEDS_WEBSOCKET,
    )
)
"""Refusals that any request may meet."""
_MOST_VALIDATED = 32_768
"""Bytes of an answer: longer ones have the same shapes, more often."""


class Answers:
    """Checks answers against a node's own document, and counts them by what they were."""

    def __init__(self, document: dict[str, Any]) -> None:
        components = document["components"]
        codes = {name: error["code"] for name, error in components["errors"].items()}
        self.seen: Counter[str] = Counter()
        self._codes: dict[str, frozenset[int]] = {}
        self._results: dict[str, Draft7Validator] = {}
        for method in document["methods"]:
            named = (error["$ref"].rpartition("/")[2] for error in method["errors"])
            allowed = GENERAL | {codes[name] for name in named}
            schema = {**method["result"]["schema"], "components": components}
            validator = Draft7Validator(schema)
            for name in (method["name"], *method.get("x-aliases", ())):
                self._codes[name] = allowed
                self._results[name] = validator

    def check(self, answer: object, method: object, size: int = 0) -> None:
        """Check one answer to a request for a method; raises AssertionError."""
        assert isinstance(answer, dict)
        assert answer["jsonrpc"] == "2.0"
        assert "id" in answer
        assert answer.keys() in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
        name = method if isinstance(method, str) else ""
        if "error" in answer:
            self._check_error(answer["error"], name)
            self.seen[str(answer["error"]["code"])] += 1
            return
        self.seen["result"] += 1
        assert name in self._results, "what is not served has no result"
        if size <= _MOST_VALIDATED:
            self._results[name].validate(answer["result"])

    def _check_error(self, error: dict[str, Any], name: str) -> None:
        assert error["code"] != errors.INTERNAL_ERROR
        assert error["code"] in self._codes.get(name, GENERAL), f"untold code {error['code']}"
        assert isinstance(error["message"], str)
        assert error["message"]
        assert error.keys() <= {"code", "message", "data"}


def speaks(request: Any) -> bool:
    """Tell whether an element of a batch, or a request alone, gets an answer."""
    if not isinstance(request, dict) or "id" in request:
        return True
    return request.get("jsonrpc") != "2.0" or not isinstance(request.get("method"), str)


def decode(body: bytes) -> Any:
    """Read an answer; raises orjson.JSONDecodeError where it is no JSON."""
    return orjson.loads(body)
