"""The Merkle value of the node under which all keys of a prefix are: one look-up instead of all."""

from __future__ import annotations

from runtime.state.node_codec import HASH_LENGTH, ReadNode, decode, resolve
from runtime.state.trie import EMPTY_ROOT

_ROOT_MARK = bytes((HASH_LENGTH << 2,))


def closest_descendant_merkle_value(node_source: ReadNode, root: bytes, key: bytes) -> bytes | None:
    """Return the Merkle value of the node of `key`, else of the uppermost node below it.

    It is the node's hash, or its encoding where that is shorter than 32 bytes (the root is always
    hashed); None where no key begins with `key`. It changes whenever an entry whose key begins
    with `key` does. Raises what `node_source` raises.
    """
    if root == EMPTY_ROOT:
        return None
    path = key.hex()
    token = _ROOT_MARK + root
    while True:
        node = decode(resolve(token, node_source))
        if node.partial.startswith(path):
            return token[1:]
        if not path.startswith(node.partial):
            return None
        nibble, path = path[len(node.partial)], path[len(node.partial) + 1 :]
        bit = 1 << int(nibble, 16)
        if not node.bitmap & bit:
            return None
        token = node.tokens[(node.bitmap & bit - 1).bit_count()]
