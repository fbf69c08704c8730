"""Runtime calls as `state_call` makes them: arguments and results go through SCALE."""

from __future__ import annotations

from typing import Any

from dev_chain import DevChain

from runtime import executive
from runtime.apis.base import StateApi
from runtime.frame.runtime_api import api_methods
from runtime.primitives.scale import decode


def ask(chain: DevChain, api: type[StateApi], name: str, *arguments: Any) -> Any:
    """Ask the state after the last block; arguments that are left out are none."""
    method = api_methods(api)[name]
    absent = (None,) * (len(method.arguments) - len(arguments))
    data = method.codec.encode((*arguments, *absent))
    answer = executive.call_api(chain.state, chain.head, f"{api.NAME}_{name}", data)
    return decode(method.output, answer)
