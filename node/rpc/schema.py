"""JSON Schemas of what methods take and give, as the node's OpenRPC document shows them.

A schema is a plain dictionary (JSON Schema, draft 7, as OpenRPC 1.3 wants it). Shapes that several
methods share are named in `SHARED` and referred to, so that the document says each of them once.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

ANY: Schema = {}
NULL: Schema = {"type": "null"}
BOOLEAN: Schema = {"type": "boolean"}
TEXT: Schema = {"type": "string"}
HEX: Schema = {"type": "string", "pattern": "^0x([0-9a-f]{2})*$"}
HASH: Schema = {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}
U32: Schema = {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1}
U64: Schema = {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}
HEX_NUMBER: Schema = {"type": "string", "pattern": "^0x[0-9a-f]+$"}
DECIMAL: Schema = {"type": "string", "pattern": "^[0-9]+$"}
ADDRESS: Schema = {
    "type": "string",
    "pattern": "^[1-9A-HJ-NP-Za-km-z]{46,50}$",
    "description": "SS58 address",
}

SHARED: dict[str, Schema] = {}
"""Named shapes: `components/schemas` of the OpenRPC document."""


def shared(name: str, schema: Schema) -> Schema:
    """Name a shape and return a reference to it; raises ValueError for a name that is taken."""
    if SHARED.setdefault(name, schema) != schema:
        raise ValueError(f"two shapes are named {name}")
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """Return the schema of a value or null."""
    return {"oneOf": [schema, NULL]}


def array(items: Schema, most: int | None = None) -> Schema:
    """Return the schema of an array of at most `most` items."""
    found: Schema = {"type": "array", "items": items}
    return found if most is None else found | {"maxItems": most}


def record(_optional: tuple[str, ...] = (), /, **members: Schema) -> Schema:
    """Return the schema of an object with exactly these members."""
    required = [name for name in members if name not in _optional]
    return {
        "type": "object",
        "properties": members,
        "required": required,
        "additionalProperties": False,
    }
