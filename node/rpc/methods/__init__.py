"""The methods, one file per group; each returns its part of the table."""

from __future__ import annotations

from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod
from node.rpc.heads import Heads
from node.rpc.methods.archive import archive_methods
from node.rpc.methods.author import author_methods
from node.rpc.methods.blobs import blob_methods
from node.rpc.methods.chain import chain_methods
from node.rpc.methods.chain_head import chain_head_methods
from node.rpc.methods.chain_spec import chain_spec_methods
from node.rpc.methods.child_state import child_state_methods
from node.rpc.methods.committee import committee_methods
from node.rpc.methods.discover import discover_method
from node.rpc.methods.dry_run import dry_run_methods
from node.rpc.methods.explorer import explorer_methods
from node.rpc.methods.explorer_blocks import block_methods
from node.rpc.methods.explorer_search import search_methods
from node.rpc.methods.explorer_settlement import attribution_method
from node.rpc.methods.explorer_status import status_methods
from node.rpc.methods.finality import finality_methods
from node.rpc.methods.node_keys import node_key_methods
from node.rpc.methods.offchain import offchain_methods
from node.rpc.methods.operator import operator_methods
from node.rpc.methods.payment import payment_methods
from node.rpc.methods.state import state_methods
from node.rpc.methods.state_ranges import state_range_methods
from node.rpc.methods.state_subscriptions import state_subscriptions
from node.rpc.methods.system import system_methods
from node.rpc.methods.trace import trace_methods
from node.rpc.methods.transaction import transaction_methods


def all_methods(backend: Backend, heads: Heads) -> list[AnyMethod]:
    """List every method that the node serves."""
    methods: list[AnyMethod] = [
        *archive_methods(backend),
        *author_methods(backend),
        *blob_methods(backend),
        *chain_methods(backend, heads),
        *chain_head_methods(backend, heads),
        *chain_spec_methods(backend),
        *child_state_methods(backend),
        *committee_methods(backend.private),
        *dry_run_methods(backend),
        *explorer_methods(backend),
        attribution_method(backend),
        *block_methods(backend),
        *search_methods(backend),
        *status_methods(backend, heads),
        *finality_methods(backend, heads),
        *node_key_methods(backend),
        *offchain_methods(backend),
        *operator_methods(backend),
        *payment_methods(backend),
        *state_methods(backend),
        *state_range_methods(backend),
        *state_subscriptions(backend, heads),
        *system_methods(backend),
        *trace_methods(backend),
        *transaction_methods(backend, heads),
    ]
    return [*methods, discover_method(backend, methods)]
