"""Nodes: several processes with one store. Who lives, who writes which session, and commands that are forwarded."""

from __future__ import annotations

from ..hub.placement import Placement
from ..store import Store
from ..store.shared import SharedStore

__all__ = ["placement_of"]


def placement_of(store: Store) -> Placement | None:
    """Return what places sessions on the nodes that share a store; None: this process has it for itself."""
    if not isinstance(store, SharedStore):
        return None
    from ..store.redis.store import RedisStore  # noqa: PLC0415 - an extra
    from .placement import NodePlacement  # noqa: PLC0415 - the same

    return NodePlacement(store) if isinstance(store, RedisStore) else None
