"""Scripts that the tests run."""

from __future__ import annotations

from askbot_ws.store.redis.scripts import Script, ScriptCall

ADD = Script.of("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
PUBLISH = Script.of("publish", "redis.call('INCR', KEYS[1]) return redis.call('SPUBLISH', ARGV[1], ARGV[2])")
FAIL = Script.of("fail", "\nreturn redis.call('LPUSH', KEYS[1], ARGV[1])")


def add(session: str, amount: int = 1) -> ScriptCall:
    """Add to a session's number."""
    return ScriptCall(ADD, (f"askbot:{{{session}}}:n",), (amount,))


def publish(session: str, message: str) -> ScriptCall:
    """Publish a message in a session's channel."""
    return ScriptCall(PUBLISH, (f"askbot:{{{session}}}:n",), (channel_of(session), message))


def channel_of(session: str) -> str:
    """A session's channel."""
    return f"askbot:{{{session}}}"
