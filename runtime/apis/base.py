"""What the APIs of this runtime share: the state they answer from."""

from __future__ import annotations

from functools import cached_property

from runtime.construct import Runtime
from runtime.frame.runtime_api import RuntimeApi
from runtime.primitives.header import Header
from runtime.state.store import State
from runtime.validity import Checker


class StateApi(RuntimeApi):
    """An API over the state behind one block; what its methods write is dropped."""

    def __init__(self, state: State, header: Header) -> None:
        self.state = state
        self.header = header

    @cached_property
    def checker(self) -> Checker:
        """The state as the next block would find it, for checks of extrinsics."""
        return Checker(self.state, self.header)

    @property
    def runtime(self) -> Runtime:
        """The pallets, as the next block would find them."""
        return self.checker.runtime
