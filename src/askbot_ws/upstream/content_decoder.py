"""ContentDecoder: undoes a compression that nobody asked for, and passes the plain bytes on to a sink."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from .provider_errors import broken_answer

MAX_PLAIN_BYTES = 1 << 18  # of one piece: a few compressed bytes may say gigabytes
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # by their headers


class ContentDecoder:
    """Passes a compressed body on to a sink, decompressed."""

    __slots__ = ("_inflate", "_is_first", "_sink")

    def __init__(self, sink: Callable[[bytes], float | None]) -> None:
        self._sink = sink
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._is_first = True

    def feed(self, data: bytes) -> float | None:
        """Decompress a piece of the body. Returns what the sink returned last, None where it was not called.

        Raises `UpstreamUnavailable` where the data is damaged, and whatever the sink raises.
        """
        grace: float | None = None
        while data:
            try:
                plain = self._decompress(data)
            except zlib.error as error:
                raise broken_answer(f"the compressed answer is damaged: {error}") from error
            data = self._inflate.unconsumed_tail
            if plain:
                grace = self._sink(plain)
            if grace == 0:
                break
        return grace

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._inflate.decompress(data, MAX_PLAIN_BYTES)
        except zlib.error:
            if not self._is_first:
                raise
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)  # "deflate" has no header with some servers
            return self._inflate.decompress(data, MAX_PLAIN_BYTES)
        finally:
            self._is_first = False


def decoding_sink(sink: Callable[[bytes], float | None], encoding: str) -> Callable[[bytes], float | None]:
    """The sink itself, or one that decompresses for it where `Content-Encoding` says gzip or deflate."""
    return ContentDecoder(sink).feed if encoding.strip().lower() in ("gzip", "deflate") else sink
