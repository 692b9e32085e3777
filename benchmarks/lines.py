"""A bad line to an endpoint: every byte arrives late, or never."""

from __future__ import annotations

import asyncio
import threading


class Line:
    """Passes on what comes to `url` to the port `to_port`, both ways `delay_s` later; with None it answers nothing."""

    def __init__(self, to_port: int, *, delay_s: float | None) -> None:
        self._to_port, self._delay_s = to_port, delay_s
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="line", daemon=True).start()
        opened = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._pass_on, "127.0.0.1", 0), self._loop)
        self.url = f"http://127.0.0.1:{opened.result().sockets[0].getsockname()[1]}"

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._delay_s is None:
            while await reader.read(2**16):
                pass
            return
        theirs, to_them = await asyncio.open_connection("127.0.0.1", self._to_port)
        await asyncio.wait(
            [asyncio.ensure_future(pump) for pump in (self._pump(reader, to_them), self._pump(theirs, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for one in (writer, to_them):
            one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, piece = await waiting.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                writer.write(piece)

        writing = asyncio.ensure_future(write())
        try:
            while piece := await reader.read(2**16):
                waiting.put_nowait((self._loop.time() + self._delay_s, piece))
        except OSError:
            pass  # a killed process leaves no good-bye
        finally:
            await asyncio.sleep(self._delay_s + 0.01)
            writing.cancel()
