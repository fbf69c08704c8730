"""`rpc.discover`: the node describes its own methods."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import RPC_METHODS, AnyMethod, Method
from node.rpc.openrpc import VERSION, document

_DOCUMENT: schema.Schema = {
    "type": "object",
    "required": ["openrpc", "info", "methods"],
    "description": f"an OpenRPC {VERSION} document",
}


def discover_method(backend: Backend, methods: Sequence[AnyMethod]) -> Method:
    """Make the method that describes these methods and itself."""
    made: list[orjson.Fragment] = []

    def discover() -> orjson.Fragment:
        """Describe every method of this node in OpenRPC: parameters, results, errors."""
        if not made:
            every = [*methods, RPC_METHODS, method]
            found = document(every, title=backend.facts.name, version=backend.facts.version)
            made.append(orjson.Fragment(orjson.dumps(found)))
        return made[0]

    method = Method("rpc.discover", discover, aliases=("rpc_discover",), result=_DOCUMENT)
    return method
