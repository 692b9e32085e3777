"""Feeds broken input to everything that reads bytes from outside, and to a real endpoint; prints how many inputs were tried.

    python benchmarks/fuzz.py --inputs 50000 --seed 1

Inputs are valid ones with bits turned, parts cut out, doubled, exchanged or replaced by others, and numbers at their limits. A
decoder may give a value or raise the one error that it is said to raise. The endpoint answers with a status below 500, and a
request that it refuses changes nothing. Anything else ends the program with status 1, and the input in a file.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import urllib3
from setting import Endpoint

from streamvis.client.spool.frames import Outgoing, frames_of, read_segment
from streamvis.errors import InvalidData
from streamvis.records import Cursor, Finish, Start
from streamvis.wire.arrow import ARROW, decode_batch_body, encode_control, encode_rows, encode_value
from streamvis.wire.jsonform import chunks_from_json, load_json

NUMBERS = [struct.pack(form, number) for form, number in (("<i", -1), ("<i", 2**31 - 1), ("<q", -1), ("<q", 2**62), ("<I", 0))]


def arrow_bodies() -> list[bytes]:
    """Batches in Arrow form of all kinds."""
    rows = [
        encode_rows("k", [0, 1], [0.0, 1.0], {"x": [1.0, 2.0], "n": [1, None], "s": ["a", None]}),
        encode_rows("k", [5], [2.0], {"a": [np.arange(6.0).reshape(2, 3)], "j": [{"b": [1, "x"]}]}),
        encode_rows("k", [5], [2.0], {"t": np.array(["2026-01-01"], "M8[us]")}),
        encode_rows("ragged", [1, 2], [0.0, 0.0], {"l": [[1, 2], []], "b": [True, False]}),
    ]
    values = [encode_value("v", 3, 0.0, {"m": np.eye(3), "l": [1, {"c": "text"}], "u": np.array(["x", "yy"])})]
    controls = [encode_control(Start(json.dumps({"a": 1}), 1.0, "name")), encode_control(Finish("finished", 2.0))]
    bodies = [chunk.body for chunk in (*rows, *values)] + controls
    return [*bodies, b"".join(bodies), b""]


def json_bodies() -> list[bytes]:
    """Batches in JSON form of all kinds."""
    records = [
        {"kind": "start", "config": {"a": [1, None, "NaN"]}, "name": "n"},
        {"kind": "rows", "key": "k", "step": 1, "time": 1.5, "data": {"x": [1, 2.5], "s": ["a", "b"]}},
        {"kind": "rows", "key": "k", "step": 2, "data": {"x": {"dtype": "int64", "data": [1, 2]}}},
        {
            "kind": "value",
            "key": "v",
            "step": 3,
            "data": {"m": {"dtype": "float32", "data": [[1, 2], [3, "NaN"]]}, "t": "text"},
        },
        {"kind": "clear"},
        {"kind": "finish", "state": "failed"},
    ]
    whole = {"app": "a", "producer": "p", "number": 1, "records": records}
    return [json.dumps(whole).encode(), *(json.dumps({"records": [record]}).encode() for record in records)]


def frames() -> list[bytes]:
    """Spools."""
    batches = [Outgoing("run", "app", "p", number, 2, (body,)) for number, body in enumerate(arrow_bodies())]
    return [b"".join(frames_of(batch) for batch in batches[:count]) for count in (1, 3)]


def broken(chance: random.Random, valid: list[bytes]) -> bytes:
    """One of the valid inputs, with a few things wrong."""
    data = bytearray(chance.choice(valid))
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        at, to = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
        match chance.randrange(8):
            case 0 if data:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            case 1:
                del data[at:]
            case 2:
                del data[at : at + chance.randrange(1, 40)]
            case 3:
                data[at:at] = data[at : min(to, at + 300)]
            case 4:
                other = chance.choice(valid)
                data[at : at + chance.randrange(64)] = other[: chance.randrange(1, 200)]
            case 5:
                data[at : at + 8] = chance.choice(NUMBERS)
            case 6:
                data[at:at] = chance.randbytes(chance.randrange(1, 16))
            case 7:
                words = [b"null", b"-1", b"1e999", b'"NaN"', b"[" * 2000, b'{"a":' * 500, b"99999999999999999999", b'"\\ud800"']
                data[at : min(to, at + 6)] = chance.choice(words)
    return bytes(data)


STRANGE = [
    None,
    True,
    -1,
    0,
    2**63,
    2**70,
    1e308,
    "",
    "NaN",
    "x" * 2000,
    "\ud800",
    [],
    {},
    [[]],
    [[1], [1, 2]],
    {"dtype": "int8"},
    {"dtype": "array<float32>", "data": [[1]]},
    {"dtype": "datetime64[us]", "data": ["never"]},
    [1, "a", None, {"b": []}],
]


def broken_json(chance: random.Random, valid: list[bytes]) -> bytes:
    """A valid input as JSON in which some parts are others; or the text itself is broken."""
    if chance.random() < 0.3:
        return broken(chance, valid)
    data = json.loads(chance.choice(valid))
    for _ in range(chance.choice([1, 1, 2, 4])):
        part = data
        while True:
            places = list(part) if isinstance(part, dict) else list(range(len(part)))
            if not places:
                break
            place = chance.choice(places)
            if isinstance(part[place], dict | list) and part[place] and chance.random() < 0.8:
                part = part[place]
                continue
            if isinstance(part, dict) and chance.random() < 0.2:
                part[chance.choice(["", "kind", "\x00", "k" * 2000])] = part.pop(place)
            else:
                part[place] = copy.deepcopy(chance.choice(STRANGE))
            break
    return json.dumps(data).encode()


def cursor_texts() -> list[bytes]:
    """Cursors."""
    return [b"abc123.0.5", b"abc123.4.999999999"]


def read_spool(data: bytes) -> None:
    """A spool's segment."""
    path = Path(tempfile.gettempdir()) / f"streamvis-fuzz-{time.time_ns()}"
    try:
        path.write_bytes(data)
        list(read_segment(path))
    finally:
        path.unlink()


def read_json(data: bytes) -> None:
    """A batch in JSON form."""
    chunks_from_json(load_json(data), now=0.0)


DECODERS: dict[str, tuple[Callable[[], list[bytes]], Callable[[bytes], object], tuple[type[Exception], ...]]] = {
    "Arrow batch": (arrow_bodies, decode_batch_body, (InvalidData,)),
    "JSON batch": (json_bodies, read_json, (InvalidData,)),
    "cursor": (cursor_texts, lambda data: Cursor.parse(data.decode("latin-1")), (ValueError,)),
    "spool": (frames, read_spool, ()),
}


def fuzz_decoder(name: str, inputs: int, chance: random.Random) -> Counter[str]:
    """Try so many inputs on a decoder; how many were taken, and how many refused."""
    make, decode, expected = DECODERS[name]
    valid, found = make(), Counter()
    for _ in range(inputs):
        data = (broken_json if name.startswith("JSON") else broken)(chance, valid)
        try:
            decode(data)
            found["taken"] += 1
        except expected:
            found["refused"] += 1
        except BaseException:
            keep(name, data)
            raise
    return found


def fuzz_endpoint(inputs: int, chance: random.Random) -> Counter[str]:
    """Try so many requests on a real endpoint."""
    endpoint, http, found = Endpoint(), urllib3.PoolManager(), Counter()
    kinds = [(ARROW, arrow_bodies()), ("application/json", json_bodies())]
    run = f"{endpoint.url}/api/v1/runs/r"
    try:
        http.request("POST", f"{endpoint.url}/api/v1/runs", json={"app": "a", "run": "r"})

        def state() -> bytes:
            return http.request("GET", run).data + http.request("GET", f"{run}/tail").data

        before = state()
        for _ in range(inputs):
            kind, valid = chance.choice(kinds)
            data = (broken if kind == ARROW else broken_json)(chance, valid)
            headers = {"Content-Type": kind}
            answer = http.request("POST", f"{run}/batches?app=a", body=data, headers=headers, timeout=30)
            if answer.status >= 500:
                keep("endpoint", data)
                raise SystemExit(f"the endpoint answered {answer.status}: {answer.data[:500]!r}")
            if answer.status != 200:
                found["refused"] += 1
                if state() != before:
                    keep("endpoint", data)
                    raise SystemExit("a request that was refused changed something")
            else:
                found["taken"] += 1
                for reading in ("", "/tail", "/rows?key=k", "/history?key=k&buckets=10", "/value?key=v"):
                    for accept in ("application/json", ARROW):
                        read = http.request("GET", f"{run}{reading}", headers={"Accept": accept})
                        if read.status >= 500:
                            keep("endpoint", data)
                            raise SystemExit(f"{reading} answered {read.status} after this: {read.data[:500]!r}")
                http.request("POST", f"{run}/clear")
                before = state()
    finally:
        endpoint.stop()
        endpoint.folder.cleanup()
    return found


def keep(name: str, data: bytes) -> None:
    """Keep an input that went wrong."""
    path = Path(tempfile.gettempdir()) / f"streamvis-fuzz-{name.replace(' ', '-')}.bin"
    path.write_bytes(data)
    print(f"what went wrong is in {path}", file=sys.stderr)


def main() -> None:
    """Try what the command line asks for, and print the counts."""
    parser = argparse.ArgumentParser(description="Feeds broken input to everything that reads bytes from outside.")
    parser.add_argument("--inputs", type=int, default=50_000, help="for each decoder")
    parser.add_argument("--requests", type=int, default=5_000, help="for the endpoint")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    chance = random.Random(options.seed)
    for name in DECODERS:
        found = fuzz_decoder(name, options.inputs, chance)
        print(f"{name:12} {options.inputs:9,} inputs: {found['taken']:,} taken, {found['refused']:,} refused", flush=True)
    found = fuzz_endpoint(options.requests, chance)
    print(
        f"{'endpoint':12} {options.requests:9,} requests: {found['taken']:,} taken, {found['refused']:,} refused, none with 5xx"
    )


if __name__ == "__main__":
    main()
