"""Redis and Valkey: the connections to the servers, and what is kept there.

Importing this package needs nothing that is not installed; its modules need the extra `askbot-ws[redis]`.
"""

from __future__ import annotations

from importlib.util import find_spec

from ...errors import ConfigError


def require_redis() -> None:
    """Raise `ConfigError` where the extra is not installed. To be called before the modules are imported."""
    if find_spec("redis") is None or find_spec("hiredis") is None:
        raise ConfigError(
            "ASKBOT_STORE: what speaks to Redis is not installed; install it with pip install 'askbot-ws[redis]'."
        )
