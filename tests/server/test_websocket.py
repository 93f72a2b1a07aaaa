"""What is written to a socket is what `websockets` would write."""

from __future__ import annotations

import socket
import sys

import pytest
from websockets.frames import Frame, Opcode

from askbot_ws.config import from_keywords
from askbot_ws.server.listening import bind
from askbot_ws.server.websocket import text_header


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_a_text_frame_begins_as_the_standard_says(length: int) -> None:
    """RFC 6455, 5.2: the length in 7, 16 or 64 bits; at each border as the library has it."""
    text = b"x" * length

    assert text_header(length) + text == Frame(Opcode.TEXT, text).serialize(mask=False)


@pytest.mark.skipif(sys.platform != "linux", reason="`websockets` sends pings there")
def test_the_kernel_gives_up_whoever_is_gone_without_a_word() -> None:
    """It does so once `alive` is not acknowledged; later than we close a reader that is only slow (4408)."""
    settings = from_keywords({"port": 0, "heartbeat": 2.0, "reader_timeout": 3.0}, without=())
    with bind(settings) as listening, socket.create_connection(listening.getsockname()):
        listening.settimeout(5)
        accepted, _ = listening.accept()
        with accepted:
            patience = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    assert 5_000 < patience < 60_000  # milliseconds
