"""What is written to a socket is what `websockets` would write."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from askbot_ws.server.socket import text_header


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_a_text_frame_begins_as_the_standard_says(length: int) -> None:
    """RFC 6455, 5.2: the length in 7, 16 or 64 bits; at each border as the library has it."""
    text = b"x" * length

    assert text_header(length) + text == Frame(Opcode.TEXT, text).serialize(mask=False)
