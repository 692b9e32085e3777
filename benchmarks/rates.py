"""What a batch costs an endpoint and its store: `python benchmarks/rates.py --store postgresql --endpoints 2`.

Batches that were encoded before are sent over HTTP as fast as they are acknowledged. It prints the rate, and the processor's time
for a batch in the endpoints and in the database, which bound what an installation carries.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

from installation import STORES, Installation, installation, told_setting
from stores import ROWS_A_BATCH, rows

from streamvis.records import Start
from streamvis.transport import Transport, path
from streamvis.wire.arrow import ARROW, encode_control


def send_all(url: str, run: str, bodies: list[bytes]) -> None:
    """Send the batches of a producer, each after the answer to the last."""
    transport = Transport(url)
    for number, body in enumerate(bodies):
        params = {"producer": "p", "number": number, "app": "app", "live": "true"}
        answer = transport.request(
            "POST", path("runs", run, "batches"), params=params, body=body, headers={"Content-Type": ARROW}
        )
        assert answer.status == 200, answer


def measure(installed: Installation, producers: int, seconds: float) -> str:
    """Send for about so long."""
    chunk = rows(0, ROWS_A_BATCH).body
    start = encode_control(Start("{}", 1.0))

    def send(turn: int, count: int) -> None:
        bodies = [start, *([chunk] * count)]
        with ThreadPoolExecutor(producers) as threads:
            runs = [(installed.address(i), f"run-{producers}-{turn}-{i}", bodies) for i in range(producers)]
            list(threads.map(lambda one: send_all(*one), runs))

    began = time.perf_counter()
    send(0, 20)
    count = max(20, int(20 * seconds / (time.perf_counter() - began)))
    used_s, began = installed.used_s(), time.perf_counter()
    send(1, count)
    took_s, sent = time.perf_counter() - began, producers * (count + 1)
    shares = {who: (now - used_s[who]) / sent for who, now in installed.used_s().items()}
    told = ", ".join(f"{1e6 * share:,.0f} µs in the {who}" for who, share in shares.items())
    return (
        f"{producers} producers: {sent / took_s:,.0f} batches/s, {ROWS_A_BATCH * sent / took_s:,.0f} rows/s; a batch takes {told}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--endpoints", type=int, default=1)
    parser.add_argument("--producers", type=int, nargs="+", default=[1, 30])
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    with installation(options.store, options.endpoints) as installed:
        for producers in options.producers:
            print(measure(installed, producers, options.seconds), flush=True)
    print(f"{options.store}, {options.endpoints} endpoints; {told_setting()}")


if __name__ == "__main__":
    main()
