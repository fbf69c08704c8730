"""Why a cluster cannot be used, and why it gives no answer."""

from __future__ import annotations

from enum import Enum

from inference.api.errors import SERVER, status_of
from runtime.primitives.errors import Refusal


class ClusterReason(Enum):
    """Stable names of the reasons."""

    RAY_MISSING = "ray_missing"
    BAD_ADDRESS = "bad_address"
    BAD_DEVICE = "bad_device"
    CLUSTER_UNREACHABLE = "cluster_unreachable"
    VERSIONS_DIFFER = "versions_differ"
    NO_REPLICA = "no_replica"
    REPLICA_LOST = "replica_lost"
    ANSWERS_DIFFER = "answers_differ"
    ID_REUSED = "id_reused"
    TASK_FAILED = "task_failed"


class ClusterRefused(Refusal):
    """The cluster does not serve; `retry_after` says in how many seconds it may."""

    def __init__(
        self, reason: ClusterReason, detail: str, retry_after: float | None = None
    ) -> None:
        super().__init__(reason, detail)
        self.reason: ClusterReason = reason
        self.retry_after = retry_after


_UNAVAILABLE = (ClusterReason.NO_REPLICA, ClusterReason.REPLICA_LOST)


@status_of.register
def _(error: ClusterRefused) -> tuple[int, str]:
    return (503 if error.reason in _UNAVAILABLE else 500), SERVER
