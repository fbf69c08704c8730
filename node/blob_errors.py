"""Why the blob store, or the exchange with peers, refuses."""

from __future__ import annotations

from enum import Enum

from runtime.primitives.errors import Refusal


class BlobReason(Enum):
    """Why a blob, or a chunk of one, is not taken or not given."""

    UNDECLARED = "no transaction on the chain declares this hash; declare it first"
    CHUNK_SIZE = "a chunk has 1 to 1048576 bytes"
    WRONG_OFFSET = "the chunk does not begin where the bytes received so far end; ask the status"
    TOO_LONG = "the chunk goes beyond the declared size"
    WRONG_HASH = "the bytes received do not have this hash; they were dropped, start again at 0"
    TOO_LARGE = "the declared size exceeds what this node stores in one blob"
    QUOTA = "the node's room for blobs is used up; try another node"
    UPLOADS = "too many uploads are open; finish some first or try later"
    ABSENT = "the blob is not here, or not complete"
    RANGE = "the range begins behind the end of the blob"
    DISK = "the node's disk takes no more; try another node"
    NO_PEERS = "the blob is not here and the node has no peers to ask; try another node or later"
    NOBODY = "neither this node nor a peer of it gives the blob now; try later, or upload it again"
    LATE = "the node is fetching the blob from its peers; ask again"
    BUSY = "the node is fetching too many blobs for others; try later"


class BlobRefusal(Refusal):
    """The store does not do what it is asked for; what it holds is unchanged."""

    def __init__(self, reason: BlobReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: BlobReason = reason
