"""`SystemMonitor`: what the machine does while a run continues: processor, memory, disk, network, and GPUs of NVIDIA.

    with streamvis.run("my app"), SystemMonitor():
        ...

GPUs need the package nvidia-ml-py; without it, or without a driver, they are left out.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import psutil

from streamvis.integrations.sending import Sending

__all__ = ["SystemMonitor"]


class SystemMonitor:
    """A thread that sends a row of the key `system` every `every_s` seconds, from `start` to `stop`, or in a `with` block.

    Args:
        app: of a run of its own, where no run is active; by default "system"
        every_s: seconds between two rows
        key: the key of the rows
        disk: a folder of the disk whose use to send
        options: of `streamvis.run`, and `client`
    """

    def __init__(
        self, app: str | None = None, *, every_s: float = 10.0, key: str = "system", disk: str = "/", **options: Any
    ) -> None:
        self._sending = Sending(app, default_app="system", **options)
        self._every_s, self._key, self._disk = every_s, key, disk
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> SystemMonitor:
        if self._thread is None:
            self._sending.begin()
            self._stop.clear()
            self._thread = threading.Thread(target=self._watch, name="streamvis-system", daemon=True)
            self._thread.start()
        return self

    def stop(self, timeout_s: float = 5.0) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join(timeout_s)
            self._thread = None
            self._sending.end()

    def __enter__(self) -> SystemMonitor:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _watch(self) -> None:
        process, gpus = psutil.Process(), _Gpus()
        for count in (psutil.cpu_percent, process.cpu_percent):
            count()  # both count from the call before
        before, at = _counters(), time.monotonic()
        while not self._stop.wait(self._every_s):
            now, elapsed = _counters(), max(1e-9, time.monotonic() - at)
            row: dict[str, float] = {
                f"{name}_bytes_per_s": (now[name] - before[name]) / elapsed for name in now if name in before
            }
            before, at = now, time.monotonic()
            memory = psutil.virtual_memory()
            row |= {"processor_percent": psutil.cpu_percent(), "memory_percent": memory.percent, "memory_bytes": memory.used}
            with suppress(psutil.Error):
                row |= {"process_percent": process.cpu_percent(), "process_memory_bytes": process.memory_info().rss}
            with suppress(OSError):
                row["disk_percent"] = psutil.disk_usage(self._disk).percent
            row |= gpus.read()
            with self._sending.harmless():
                self._sending.send_rows(self._sending.count(self._key), self._key, row)
        gpus.close()


def _counters() -> dict[str, int]:
    found = {}
    disk, network = psutil.disk_io_counters(), psutil.net_io_counters()
    if disk is not None:
        found |= {"disk_read": disk.read_bytes, "disk_write": disk.write_bytes}
    if network is not None:
        found |= {"network_receive": network.bytes_recv, "network_send": network.bytes_sent}
    return found


class _Gpus:
    """The GPUs of this machine; none where there is no package or no driver for them."""

    def __init__(self) -> None:
        self._ml: Any = None
        self._handles: list[Any] = []
        try:
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError:
            return
        self._ml = pynvml

    def read(self) -> dict[str, float]:
        """What each does; what it cannot tell is left out."""
        found: dict[str, float] = {}
        for i, handle in enumerate(self._handles):
            for ask in (self._load, self._memory, self._temperature, self._power):
                with suppress(self._ml.NVMLError):
                    found |= {f"gpu{i}_{name}": cell for name, cell in ask(handle).items()}
        return found

    def close(self) -> None:
        if self._ml is not None:
            with suppress(self._ml.NVMLError):
                self._ml.nvmlShutdown()

    def _load(self, handle: Any) -> dict[str, float]:
        rates = self._ml.nvmlDeviceGetUtilizationRates(handle)
        return {"percent": rates.gpu, "memory_percent": rates.memory}

    def _memory(self, handle: Any) -> dict[str, float]:
        return {"memory_bytes": self._ml.nvmlDeviceGetMemoryInfo(handle).used}

    def _temperature(self, handle: Any) -> dict[str, float]:
        return {"celsius": self._ml.nvmlDeviceGetTemperature(handle, self._ml.NVML_TEMPERATURE_GPU)}

    def _power(self, handle: Any) -> dict[str, float]:
        return {"watts": self._ml.nvmlDeviceGetPowerUsage(handle) / 1000}
