"""A TCP proxy on loopback that cuts a connection after a number of bytes: in the middle of a request, or before its answer."""

import asyncio
import threading
from dataclasses import dataclass, field

__all__ = ["DOWN", "UP", "Proxy"]

UP, DOWN = "up", "down"
"""From the client to the server, and back."""
_PIECE_BYTES = 65_536


@dataclass
class _Cut:
    """After `left` more bytes in a direction, on whichever connection carries them, that connection is cut."""

    direction: str
    left: int
    happened: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Passes on what comes to `port` to the port `to_port`, which may be closed for a while; then it closes what comes."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._cut: _Cut | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._pass_on, "127.0.0.1", 0, limit=_PIECE_BYTES))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def cut(self, direction: str, after_bytes: int, *, within_s: float) -> bool:
        """Cut a connection once so many more bytes went in a direction, and none of the next ones; False when too few went."""
        cut = _Cut(direction, after_bytes)
        self._loop.call_soon_threadsafe(setattr, self, "_cut", cut)
        happened = cut.happened.wait(within_s)
        self._loop.call_soon_threadsafe(setattr, self, "_cut", None)
        return happened

    def close(self) -> None:
        """Close all connections."""

        async def end() -> None:
            self._server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._to_port, limit=_PIECE_BYTES)
            writers.append(their_writer)
            pumps = [self._pump(UP, reader, their_writer), self._pump(DOWN, their_reader, writer)]
            tasks = [asyncio.ensure_future(pump) for pump in pumps]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        except OSError:
            pass  # nobody listens there now
        finally:
            for one in writers:
                one.transport.abort()

    async def _pump(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(_PIECE_BYTES):
                cut = self._cut
                if cut is None or cut.direction != direction:
                    writer.write(piece)
                elif len(piece) <= cut.left:
                    cut.left -= len(piece)
                    writer.write(piece)
                else:
                    self._cut = None
                    writer.write(piece[: cut.left])
                    cut.happened.set()
                    return
                await writer.drain()
        except OSError:
            pass  # one of the two went away: so does the other
