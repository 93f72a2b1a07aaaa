"""Proxy: a TCP connection that goes wrong in the way that it is told to.

Between clients and the server, or the server and its provider. It forwards from the loop's callbacks, without a task a
connection; a fault is an order for one link: what happens, after how many more bytes, and for how long.

    CUT         both sides are closed at once, in the middle of whatever is on its way
    RESET       the same with RST: what the other side has not read yet is lost as well
    STALL       nothing moves for a while
    TRICKLE     a few bytes at a time
    SPLIT       each byte by itself
    HALF_OPEN   what is sent goes nowhere and nobody is told; after a while the link breaks, as when a router restarts
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum

READ_AHEAD = 256 * 1024  # bytes held for a link that stalls; the sender feels it after that
STEP_S = 0.02
FEW = 24  # bytes in a step of a trickle

Watch = Callable[[bytes], int | None]
"""Sees what goes to the client. Returns after how many of these bytes the link is to be cut, or None."""


class Kind(Enum):
    """What goes wrong."""

    CUT = "cut"
    RESET = "reset"
    STALL = "stall"
    TRICKLE = "trickle"
    SPLIT = "split"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Order:
    """One fault for one link."""

    kind: Kind
    after: int = 0  # bytes from now on, both directions counted together
    seconds: float = 0.0


class Link:
    """A client's connection and the one that was made for it."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.client = End(self)
        self.server = End(self)
        self.client.other, self.server.other = self.server, self.client
        self.order: Order | None = None
        self.mode: Kind | None = None  # what is going wrong just now
        self.watch = proxy.watch() if proxy.watch else None
        self.closed = False
        self._left = 0
        self._task: asyncio.Task[None] | None = None

    def obey(self, order: Order) -> None:
        """Go wrong."""
        self.order, self._left = order, order.after
        if not order.after:
            self._begin(order)

    def take(self, end: End, data: bytes) -> None:
        """Bytes that came from one end."""
        if self.watch is not None and end is self.server:
            place = self.watch(data)
            if place is not None:
                self.client.write(data[:place])
                self.close()
                return
        if self.order is not None and self._left > 0:
            if len(data) < self._left:
                self._left -= len(data)
            else:
                end.other.send(data[: self._left])
                data, self._left = data[self._left :], 0
                self._begin(self.order)
        if not self.closed:
            end.other.send(data)

    def _begin(self, order: Order) -> None:
        self.order = None
        self.proxy.on_fault(order.kind)
        if order.kind is Kind.CUT:
            self.close()
        elif order.kind is Kind.RESET:
            self.close(reset=True)
        elif self._task is None:
            self.mode = order.kind
            self._task = asyncio.create_task(self._suffer(order))

    async def _suffer(self, order: Order) -> None:
        """Until the time is over. Then all is as if nothing had been, but for the time."""
        over = asyncio.get_running_loop().time() + order.seconds
        while asyncio.get_running_loop().time() < over and not self.closed:
            await asyncio.sleep(STEP_S)
            for end in (self.client, self.server):
                end.step(self.mode)
        self._task = None
        if self.mode is Kind.HALF_OPEN:
            self.close(reset=True)
        self.mode = None
        for end in (self.client, self.server):
            end.step(None)

    def heal(self) -> None:
        """Forget what was ordered; what is half open breaks now."""
        self.order = None
        if self.mode is not None:
            if self.mode is Kind.HALF_OPEN:
                self.close()
            self.mode = None

    def close(self, *, reset: bool = False) -> None:
        """Break it."""
        if not self.closed:
            self.closed = True
            self.proxy.links.pop(self, None)
            for end in (self.client, self.server):
                end.close(reset=reset)


class End(asyncio.Protocol):
    """One of a link's two sockets."""

    other: End

    def __init__(self, link: Link) -> None:
        self._link = link
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()  # what is still to be sent on this socket
        self._said_all = False  # the other end will send no more
        self.gone = False

    # --- out ---

    def send(self, data: bytes) -> None:
        """Send it, or hold it, as long as something goes wrong."""
        mode = self._link.mode
        if mode is Kind.HALF_OPEN:
            return
        if mode is not None or self._held or self._transport is None:
            self._held += data
            if mode is Kind.SPLIT:
                self.step(mode)
            if len(self._held) > READ_AHEAD:
                self.other.pause()
        elif not self._transport.is_closing():
            self._transport.write(data)

    def step(self, mode: Kind | None) -> None:
        """Send what may be sent now."""
        if mode is Kind.STALL or not self._transport or self._transport.is_closing():
            return
        few = {Kind.TRICKLE: FEW, Kind.SPLIT: 2000}.get(mode, len(self._held)) if mode else len(self._held)
        now, self._held = self._held[:few], self._held[few:]
        for start in range(0, len(now), 1 if mode is Kind.SPLIT else len(now) or 1):
            if self._transport.is_closing():
                return
            self._transport.write(bytes(now[start : start + 1]) if mode is Kind.SPLIT else bytes(now))
        if len(self._held) <= READ_AHEAD:
            self.other.resume()
        if self._said_all and not self._held:
            self._transport.close()

    def write(self, data: bytes) -> None:
        """Send it whatever goes wrong."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self, *, reset: bool) -> None:
        """Close it: with what is written (a broken network delivers what it had), or with RST."""
        if self._transport is None:
            return
        if reset:
            raw: socket.socket = self._transport.get_extra_info("socket")
            with suppress(OSError):  # it is gone already
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()

    def pause(self) -> None:
        """Read no more."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = self._link
        if link.closed:
            transport.abort()
        elif self is link.client:
            link.proxy.begin(link)
        elif link.mode is None:
            self.step(None)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if not self._link.closed:
            self._link.take(self, data)

    def eof_received(self) -> None:
        """It says no more: the connection is closed, once what it said has been passed on."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the other one. Who is half open is not told."""
        link = self._link
        if link.closed or link.mode is Kind.HALF_OPEN:
            return
        self.gone = True
        self.other.finish()
        if exc is not None or link.mode is None or self.other.gone:
            link.close(reset=exc is not None)

    def finish(self) -> None:
        """The other end is gone."""
        self._said_all = True
        if not self._held and self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self.other.pause()

    def resume_writing(self) -> None:
        """It does."""
        if len(self._held) <= READ_AHEAD:
            self.other.resume()


class Proxy:
    """Listens on `port`, and connects to another one."""

    def __init__(
        self,
        target: int,
        *,
        on_fault: Callable[[Kind], None] = lambda _: None,
        watch: Callable[[], Watch] | None = None,
    ) -> None:
        """`on_fault` is told of every fault that takes effect; `watch` makes what looks at a link's bytes."""
        self.target = target
        self.on_fault = on_fault
        self.watch = watch
        self.links: dict[Link, None] = {}  # in the order in which they were made
        self.port = 0
        self._next: list[Order] = []
        self._connecting: set[asyncio.Task[None]] = set()

    def begin(self, link: Link) -> None:
        """A client came."""
        self.links[link] = None
        if self._next:
            link.obey(self._next.pop(0))
        task = asyncio.create_task(self._connect(link))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, link: Link) -> None:
        if not link.closed:
            try:
                await self.connect(link)
            except OSError:
                link.close(reset=True)

    async def connect(self, link: Link) -> None:
        """Connect a link to the target. Raises OSError."""
        await asyncio.get_running_loop().create_connection(lambda: link.server, "127.0.0.1", self.target)

    def hurt(self, order: Order, pick: float) -> None:
        """One link goes wrong, which `pick` (0 to 1) chooses; where there is none, the next one will."""
        links = [link for link in self.links if link.mode is None and link.order is None]
        if links:
            links[int(pick * len(links))].obey(order)
        else:
            self.hurt_next(order)

    def hurt_next(self, order: Order) -> None:
        """The next link to be made goes wrong: in its handshake, if that is how many bytes it takes."""
        self._next.append(order)

    @property
    def waits_to_hurt(self) -> bool:
        """Whether the next link goes wrong already."""
        return bool(self._next)

    def heal(self) -> None:
        """From now on all goes well."""
        self._next.clear()
        for link in tuple(self.links):
            link.heal()

    def close(self) -> None:
        """Break all links."""
        for link in tuple(self.links):
            link.close(reset=True)


@asynccontextmanager
async def proxied(
    target: int, *, on_fault: Callable[[Kind], None] = lambda _: None, watch: Callable[[], Watch] | None = None
) -> AsyncGenerator[Proxy]:
    """A proxy before a port of this machine."""
    async with listening(Proxy(target, on_fault=on_fault, watch=watch)) as proxy:
        yield proxy


@asynccontextmanager
async def listening(proxy: Proxy) -> AsyncGenerator[Proxy]:
    """The proxy listens on a port that is free, until the end of the block."""
    server = await asyncio.get_running_loop().create_server(lambda: Link(proxy).client, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.close()
        await asyncio.sleep(0.05)  # asyncio closes sockets a moment later


def after_token(count: int) -> Watch:
    """Cuts a WebSocket connection right after its n-th `token` frame (RFC 6455 §5.2; a server does not mask)."""
    data, base, seen = bytearray(), 0, 0  # what was not understood yet, and where that begins
    headed = False

    def watch(more: bytes) -> int | None:
        nonlocal base, seen, headed
        before = base + len(data)  # where `more` begins
        data.extend(more)
        if not headed:
            head, end, _ = data.partition(b"\r\n\r\n")
            if not end:
                return None
            headed = True
            base += len(head) + len(end)
            del data[: len(head) + len(end)]
        while (size := _frame_size(data)) is not None and len(data) >= size:
            seen += b'"type":"token"' in data[:size]
            base += size
            del data[:size]
            if seen == count:
                return base - before
        return None

    return watch


def _frame_size(data: bytearray) -> int | None:
    if len(data) < 2:
        return None
    length = data[1] & 0x7F
    extended = {126: 2, 127: 8}.get(length, 0)
    if len(data) < 2 + extended:
        return None
    return 2 + extended + (int.from_bytes(data[2 : 2 + extended], "big") if extended else length)
