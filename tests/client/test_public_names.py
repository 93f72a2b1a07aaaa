"""What `askbot_ws` and `askbot_ws.client` export."""

from __future__ import annotations

import subprocess
import sys
from inspect import signature
from pathlib import Path

import askbot_ws
from askbot_ws import Answer, AnswerStream, Chat, Closed, Damaged, TimedOut, Turn, View, client, connect, connect_sync
from askbot_ws.client import sync


def test_the_client_is_importable_from_the_package() -> None:
    """All that programs need, and each is what `askbot_ws.client` has."""
    names = (Answer, AnswerStream, Chat, Closed, Damaged, TimedOut, Turn, View, connect)
    assert names == tuple(getattr(client, name) for name in askbot_ws.__all__ if name in client.__all__)
    assert connect_sync is sync.connect
    assert all(getattr(askbot_ws, name) for name in askbot_ws.__all__)


def test_an_answer_stream_has_its_former_name_too() -> None:
    """Programs that import `Asked` go on working."""
    assert client.Asked is client.AnswerStream
    assert sync.Asked is sync.AnswerStream


def test_both_clients_connect_with_the_same_arguments() -> None:
    """Their names, types and defaults; that of `on_state` is a function that does nothing."""
    asynchronous, blocking = (
        [
            each.replace(default=None) if each.name == "on_state" else each
            for each in signature(function).parameters.values()
        ]
        for function in (connect, connect_sync)
    )
    assert blocking == asynchronous


def test_importing_the_package_imports_no_client() -> None:
    """A server does not pay for it."""
    program = (
        "import sys, askbot_ws; assert not [name for name in sys.modules if 'websockets' in name or 'asyncio' in name];"
        "askbot_ws.connect; assert 'askbot_ws.client' in sys.modules; askbot_ws.connect_sync; askbot_ws.nothing"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path("/"), check=False)
    assert "AttributeError: module 'askbot_ws' has no attribute 'nothing'" in ended.stderr
