"""Runtime calls: what the node answers from a state without a transaction (`state_call`)."""

from __future__ import annotations

from typing import Any

from runtime.apis.registry import APIS
from runtime.construct import storage_key
from runtime.frame.pallet import Const, Pallet, constants
from runtime.frame.runtime_api import (
    ApiArgumentError,
    OtherRules,
    UnknownApi,
    answer,
    api_methods,
)
from runtime.primitives.header import Header
from runtime.primitives.scale import DecodeError, decode, encode
from runtime.primitives.version import RUNTIME_VERSION, LastRuntimeUpgrade
from runtime.state.store import State

_METHODS = {
    f"{api.NAME}_{name}": (api, method) for api in APIS for name, method in api_methods(api).items()
}

RULES_KEY = storage_key("System", "LastRuntimeUpgrade")
"""Where a state names the rules that read it and that execute the next block."""
_THESE_RULES = encode(
    LastRuntimeUpgrade,
    LastRuntimeUpgrade(RUNTIME_VERSION.spec_version, RUNTIME_VERSION.spec_name),
)


def pallet_constants(pallet: type[Pallet]) -> tuple[Const[Any], ...]:
    """Return the constants of a pallet, with every value known: one lists the runtime's APIs."""
    return constants(pallet)


def call_api(state: State, header: Header, method: str, data: bytes) -> bytes:
    """Answer a runtime call; raises UnknownApi, ApiArgumentError, OtherRules."""
    if state.get(RULES_KEY) != _THESE_RULES:
        raise _other_rules(state.get(RULES_KEY))
    found = _METHODS.get(method)
    if found is None:
        raise UnknownApi(f"Exported method {method} is not found")
    api, declared = found
    try:
        return answer(api(state, header), declared, data)
    except DecodeError as error:
        raise ApiArgumentError(str(error)) from error


def _other_rules(named: bytes | None) -> OtherRules:
    try:
        rules: LastRuntimeUpgrade = decode(LastRuntimeUpgrade, named or b"")
    except DecodeError:
        return OtherRules(None, "the state does not name the rules that it belongs to")
    return OtherRules(
        rules.spec_version,
        f"the state belongs to {rules.spec_name} {rules.spec_version}, this release executes "
        f"{RUNTIME_VERSION.spec_name} {RUNTIME_VERSION.spec_version}",
    )
