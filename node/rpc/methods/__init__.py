"""The methods, one file per group; each returns its part of the table."""

from __future__ import annotations

from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod
from node.rpc.heads import Heads
from node.rpc.methods.author import author_methods
from node.rpc.methods.blobs import blob_methods
from node.rpc.methods.chain import chain_methods
from node.rpc.methods.committee import committee_methods
from node.rpc.methods.finality import finality_methods
from node.rpc.methods.payment import payment_methods
from node.rpc.methods.state import state_methods
from node.rpc.methods.state_subscriptions import state_subscriptions
from node.rpc.methods.system import system_methods


def all_methods(backend: Backend, heads: Heads) -> list[AnyMethod]:
    """List every method that the node serves."""
    return [
        *author_methods(backend),
        *blob_methods(backend),
        *chain_methods(backend, heads),
        *committee_methods(backend.private),
        *finality_methods(backend, heads),
        *payment_methods(backend),
        *state_methods(backend),
        *state_subscriptions(backend, heads),
        *system_methods(backend),
    ]
