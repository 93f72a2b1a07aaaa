"""Nodes: several processes with one store. Who lives, who writes which session, and commands that are forwarded.

What clients use is counted for all nodes, and keys that one node's file has no more are refused by all.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext

from ..auth import Authenticator
from ..auth.shared_revocations import SharedRevocations
from ..hub.client_limits import ClientLimits
from ..hub.placement import Placement
from ..store import Store
from ..store.shared import SharedStore

__all__ = ["key_revocations_of", "limits_of", "placement_of"]


def placement_of(store: Store) -> Placement | None:
    """Return what places sessions on the nodes that share a store; None: this process has it for itself."""
    if not isinstance(store, SharedStore):
        return None
    from ..store.redis.store import RedisStore  # noqa: PLC0415 - an extra
    from .placement import NodePlacement  # noqa: PLC0415 - the same

    return NodePlacement(store) if isinstance(store, RedisStore) else None


def limits_of(store: Store) -> ClientLimits | None:
    """Return what counts what clients use on all nodes that share a store; None: this process has it for itself."""
    if not isinstance(store, SharedStore):
        return None
    from ..store.redis.client_limits import RedisLimits  # noqa: PLC0415 - an extra
    from ..store.redis.store import RedisStore  # noqa: PLC0415 - the same

    return RedisLimits(store, lambda: store.connections) if isinstance(store, RedisStore) else None


def key_revocations_of(store: Store, authenticator: Authenticator) -> AbstractAsyncContextManager[object]:
    """Return what tells other nodes of revoked keys, and this one of theirs; entered once the store is open."""
    if isinstance(store, SharedStore):
        from ..store.redis.revoked_keys import RedisRevocations  # noqa: PLC0415 - an extra
        from ..store.redis.store import RedisStore  # noqa: PLC0415 - the same

        if isinstance(store, RedisStore):
            return SharedRevocations(authenticator, RedisRevocations(lambda: store.connections))
    return nullcontext()
