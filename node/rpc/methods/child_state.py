"""`childstate_*`: storage of child tries, of which this chain has none.

A key of a child trie is checked as other nodes check it, and then nothing is found.
"""

from __future__ import annotations

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod, Method
from node.rpc.errors import CLIENT_ERROR, RpcError
from node.rpc.methods.state import AT, MOST_PROVEN, READ_PROOF, read_proof
from node.rpc.params import Param, hex_bytes, list_of, u32
from node.rpc.work import Work

PREFIX = b":child_storage:default:"
_MOST_KEYS = 1000
_CHILD = Param("childKey", hex_bytes, doc="`:child_storage:default:` and the name of the trie.")
_KEY = Param("key", hex_bytes, doc="A key in the child trie.")
_KEYS = Param("keys", list_of(hex_bytes, _MOST_KEYS), doc="Keys in the child trie.")
_START = Param("startKey", hex_bytes, optional=True, doc="The last key of the page before.")
_COUNT = Param("count", u32, doc="Most keys in the answer.")
_BEGINNING = Param("prefix", hex_bytes, optional=True, doc="What the keys begin with.")
_NOTHING = schema.NULL
_NO_KEYS = schema.array(schema.HEX, 0)


def child_state_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""

    def absent(child: bytes, at: bytes | None) -> None:
        if not child.startswith(PREFIX):
            raise RpcError(
                CLIENT_ERROR,
                "Client error: Invalid child storage key",
                f"it has to begin with 0x{PREFIX.hex()} (:child_storage:default:)",
            )
        backend.state(at)

    def one(child: bytes, key: bytes, at: bytes | None) -> object:
        """Read a value of a child trie: null, since this chain has no child tries."""
        absent(child, at)
        return None

    def many(child: bytes, keys: list[bytes], at: bytes | None) -> object:
        """Read values of a child trie: null for each, since this chain has no child tries."""
        absent(child, at)
        return [None] * len(keys)

    def under(child: bytes, prefix: bytes | None, at: bytes | None) -> object:
        """List keys of a child trie: none, since this chain has no child tries."""
        absent(child, at)
        return []

    def page(
        child: bytes, prefix: bytes | None, count: int, start: bytes | None, at: bytes | None
    ) -> object:
        """List keys of a child trie: none, since this chain has no child tries."""
        absent(child, at)
        return []

    async def proof(child: bytes, keys: list[bytes], at: bytes | None) -> object:
        """Prove that a child trie is not there: the nodes above its place in the state."""
        absent(child, at)
        return await read_proof(backend, [child], at)

    return [
        Method("childstate_getStorage", one, (_CHILD, _KEY, AT), result=_NOTHING),
        Method("childstate_getStorageHash", one, (_CHILD, _KEY, AT), result=_NOTHING),
        Method("childstate_getStorageSize", one, (_CHILD, _KEY, AT), result=_NOTHING),
        Method(
            "childstate_getStorageEntries",
            many,
            (_CHILD, _KEYS, AT),
            result=schema.array(_NOTHING, _MOST_KEYS),
        ),
        Method("childstate_getKeys", under, (_CHILD, _BEGINNING, AT), result=_NO_KEYS),
        Method(
            "childstate_getKeysPaged",
            page,
            (_CHILD, _BEGINNING, _COUNT, _START, AT),
            ("childstate_getKeysPagedAt",),
            result=_NO_KEYS,
        ),
        LengthyMethod(
            "state_getChildReadProof",
            proof,
            (
                _CHILD,
                Param("keys", list_of(hex_bytes, MOST_PROVEN), doc="Keys in the child trie."),
                AT,
            ),
            result=READ_PROOF,
            work=Work.SCAN,
        ),
    ]
