"""`openledger_*` pages of the state: one method for each method of the runtime APIs behind them.

Name, documentation, parameters, result and its schema come from the declaration of the runtime
call; `state_call` answers the same in SCALE.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod
from node.rpc.json_values import camel, shown
from node.rpc.methods.explorer_arguments import params_of
from node.rpc.params import Param, hash32
from runtime.apis.accounts import AccountsApi
from runtime.apis.attribution import AttributionApi
from runtime.apis.base import StateApi
from runtime.apis.datanets import DatanetsApi
from runtime.apis.epochs import EpochsApi
from runtime.apis.models import ModelsApi
from runtime.apis.overview import OverviewApi
from runtime.apis.sessions import SessionsApi
from runtime.frame.runtime_api import ApiMethod, api_methods
from runtime.primitives.scale import decode

PAGES: tuple[type[StateApi], ...] = (
    OverviewApi,
    DatanetsApi,
    ModelsApi,
    SessionsApi,
    AttributionApi,
    AccountsApi,
    EpochsApi,
)
_TOLD_IN_FULL = {(AttributionApi, "attribution")}
"""Pages that a method of their own completes with what stands in blocks."""
AT = Param("at", hash32, optional=True, doc="Hash of a block; by default the best one.")
Page = Callable[..., Coroutine[Any, Any, Any]]


def explorer_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    return [
        page_method(backend, api, method)
        for api in PAGES
        for name, method in api_methods(api).items()
        if (api, name) not in _TOLD_IN_FULL
    ]


def page_method(backend: Backend, api: type[StateApi], method: ApiMethod) -> LengthyMethod:
    """Make a method of JSON-RPC out of one of a runtime API."""
    output = shown(method.output)
    page = page_of(backend, api, method)

    async def answer(*values: Any) -> object:
        return output.write(await page(*values))

    return LengthyMethod(
        page_name(method),
        answer,
        (*params_of(method.arguments), AT),
        result=output.schema,
        doc=method.docs,
    )


def page_of(backend: Backend, api: type[StateApi], method: ApiMethod) -> Page:
    """Return a function that makes the runtime call: its arguments, then the block or None."""
    name = f"{api.NAME}_{method.name}"

    async def page(*values: Any) -> Any:
        *arguments, at = values
        # The codec of no arguments at all is that of an empty tuple.
        data = method.codec.encode(tuple(arguments))
        return decode(method.output, await backend.run_api(name, data, at))

    return page


def page_name(method: ApiMethod) -> str:
    """Name the method of JSON-RPC: ``why_not_paid`` is ``openledger_whyNotPaid``."""
    return f"openledger_{camel(method.name)}"
