"""A reader of the fault program: follows a run by the tail of the REST API, and writes down what it sees.

    python reader.py URL RUN JOURNAL

Each line of the journal is one piece of the tail, with the cursor after it; started again, it goes on from the last whole line.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from streamvis.errors import EndpointUnreachable
from streamvis.records import Rows
from streamvis.transport import Response, Transport, path
from streamvis.wire.arrow import ARROW, decode_head, decode_tail_body

_WAIT_S = 5.0
_RETRY_S = 0.05


def last_cursor(journal: Path) -> str | None:
    """The cursor of the last whole line; what a kill left after it is cut off."""
    if not journal.exists():
        return None
    whole = journal.read_bytes()
    whole = whole[: whole.rfind(b"\n") + 1]
    os.truncate(journal, len(whole))
    return json.loads(whole.splitlines()[-1])["cursor"] if whole else None


def line_of(response: Response) -> dict[str, Any]:
    """What one answer told, as a line of the journal."""
    head, body = decode_head(response.body)
    rows: dict[str, list[list[int]]] = {}
    values = {}
    for item in decode_tail_body(body):
        if isinstance(item, Rows):
            rows.setdefault(item.key, []).extend(zip(item.columns["life"].tolist(), item.columns["n"].tolist(), strict=True))
        else:
            values[item.key] = [item.data["life"], item.data["n"]]
    return {"cursor": head["cursor"], "rows": rows, "values": values}


def main(url: str, run: str, journal: str) -> None:
    """Follow until killed."""
    transport, cursor = Transport(url), last_cursor(Path(journal))
    pause = threading.Event()
    with open(journal, "ab", buffering=0) as file:
        while True:
            params = {"after": cursor, "wait": _WAIT_S}
            try:
                answer = transport.request("GET", path("runs", run, "tail"), params=params, headers={"Accept": ARROW})
            except EndpointUnreachable:
                answer = None
            if answer is None or answer.status != 200:
                pause.wait(_RETRY_S)
                continue
            line = line_of(answer)
            if line["cursor"] != cursor:
                file.write(json.dumps(line).encode() + b"\n")
                cursor = line["cursor"]


if __name__ == "__main__":
    main(*sys.argv[1:])
