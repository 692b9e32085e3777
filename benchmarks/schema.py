"""Tries every operation of the endpoint's OpenAPI document, with what fits it and what does not; prints how much was tried.

    python benchmarks/schema.py --examples 100 --sequences 100 --seed 1

Schemathesis reads the document of a real endpoint and makes the requests: at the limits of every parameter, at random, and in
sequences of which each uses an earlier answer. Where they name a run, a key or an app, it is mostly one that is there, so that
they come further than the first check. No answer may be a 5xx, or one that the document does not have, or of a form that it
does not say; none may take longer than ten seconds; and after a request that was refused, all that can be read is as it was.
Anything else is printed, and ends the program with status 1.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import schemathesis
import urllib3
from hypothesis import strategies as st
from schemathesis import hooks
from schemathesis.checks import CHECKS
from schemathesis.engine import events, from_schema
from setting import Endpoint

from fuzz import arrow_bodies, broken
from streamvis.wire.arrow import ARROW

LIMIT_S = 10.0
MAX_STATE_BYTES = 50_000
MAX_RUNS = 2
WANTED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
    "a_refusal_changes_nothing",
)
RECORDS = [
    {"kind": "start", "config": {"a": [1, None, "NaN"]}, "name": "n"},
    {"kind": "rows", "key": "k", "step": 1, "data": {"x": {"dtype": "float64", "data": [1, "NaN"]}, "s": ["a", "b"]}},
    {"kind": "rows", "key": "k", "step": 2, "data": {"i": [1], "t": {"dtype": "datetime64[us]", "data": ["2026-01-01"]}}},
    {"kind": "rows", "key": "k", "step": 3, "data": {"x": [4], "m": [[[1, 2], [3, 4]]], "j": [{"b": [1, "x"]}], "l": [True]}},
    {"kind": "value", "key": "v", "step": 3, "data": {"m": {"dtype": "float32", "data": [[1, 2], [3, "NaN"]]}, "t": "text"}},
]
NAMES = {
    "key": ["k", "k", "k", "v", "v", "v", "none such"],
    "x": ["x", "step", "time", "row", "t", "i", "s", "m"],
    "columns": ["x", "s", "i", "t", "m", "j", "l", "none such"],
    "exclude": ["k", "v"],
    "app": ["an app", "an app", "an app", "", "another app"],
    "producer": ["p", "q"],
    "step": [1, 2, 3, 3, 3, 3],
    "from_step": [0, 1, 2],
    "to_step": [1, 2, 3],
}
BODY_NAMES = ("app", "key", "producer", "run")
ODD_HEADERS = [
    {"Origin": "http://["},
    {"Origin": "null"},
    {"Host": "elsewhere.example"},
    {"Host": "[::1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Authorization": "Bearer wrong"},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Expect": "100-continue"},
    {"Streamvis-Protocol": "99"},
]


class World:
    """What the endpoint holds: always a run with data of all kinds, and a few that the requests made."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._http = urllib3.PoolManager(headers={"Authorization": f"Bearer {token}"}, timeout=LIMIT_S, retries=False)
        self._made = 0
        self.run = self.cursor = ""
        self.state = self.renewed()

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """What the endpoint says."""
        answer = self._http.request(method, f"{self._url}/api/v1{path}", **more)
        if answer.status >= 400:
            raise AssertionError(f"{method} {path} was answered with {answer.status}: {answer.data[:500]!r}")
        return answer.json() if answer.data else None

    def read(self) -> dict[str, Any]:
        """All that can be read of all runs. A tail shows in which pieces rows are stored, too, which changes by itself."""
        found: dict[str, Any] = {}
        for app in self.ask("GET", "/apps")["apps"]:
            found[app["name"]] = app
            for listed in self.ask("GET", "/runs", fields={"app": app["name"]})["runs"]:
                path = f"/runs/{listed['run']}"
                run, tail = self.ask("GET", path), self.ask("GET", f"{path}/tail")
                keys = [
                    self.ask("GET", f"{path}/{'rows' if told['kind'] == 'rows' else 'value'}", fields={"key": key})
                    for key, told in run["keys"].items()
                ]
                found[listed["run"]] = [listed, run, tail | {"records": []}, keys]
        return found

    def renewed(self) -> dict[str, Any]:
        """Make what is missing, delete what is too much; what can be read then."""
        state = self.read()
        runs = [name for name, found in state.items() if isinstance(found, list)]
        for run in sorted((run for run in runs if run != self.run), key=lambda run: state[run][0]["created"])[:-MAX_RUNS]:
            self.ask("DELETE", f"/runs/{run}")
        if self.run not in runs or not state[self.run][1]["keys"] or len(json.dumps(state)) > MAX_STATE_BYTES:
            for run in self.ask("GET", "/runs", fields={"app": "an app"})["runs"]:
                self.ask("DELETE", f"/runs/{run['run']}")
            self._made += 1
            self.run = f"run-{self._made}"
            batch = {"app": "an app", "producer": "p", "number": 0, "records": RECORDS}
            self.ask("POST", f"/runs/{self.run}/batches", json=batch)
        state = self.read()
        self.cursor = state[self.run][2]["cursor"]
        return state

    def known(self, name: str, given: Any, chance: random.Random) -> Any:
        """For most names that were made up one that is there; what is no name stays."""
        if isinstance(given, list):
            return [self.known(name, one, chance) for one in given]
        if type(given) not in (str, int) or given == "" or (type(given) is int and given < 0):
            return given
        there = {"run": [self.run], "after": [self.cursor], "until": [self.cursor]}.get(name) or NAMES.get(name, [given])
        found = chance.choice(there)
        return found if type(found) is type(given) and chance.random() < 0.85 else given


@dataclass
class Found:
    """What was tried, and what went wrong."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: dict[tuple[str, str], str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The counts, an operation a line."""
        kinds = sorted({status // 100 for _, status in self.answers})
        for label in [*sorted({label for label, _ in self.answers}), "all"]:
            of_it = {key: count for key, count in self.answers.items() if label in ("all", key[0])}
            counts = (sum(count for (_, status), count in of_it.items() if status // 100 == kind) for kind in kinds)
            names = (f"{kind}xx" if kind else "without an answer" for kind in kinds)
            told = "".join(f"{count:8,} {name}" for count, name in zip(counts, names, strict=True))
            yield f"{label:36} {sum(of_it.values()):8,} requests: {told}"
        statuses = Counter(status for (_, status), count in self.answers.items() for _ in range(count))
        yield "by status: " + ", ".join(f"{status} {statuses[status]:,}" for status in sorted(statuses))


def bend(world: World, case: schemathesis.Case) -> None:
    """Have a request that was made up speak of what is there, ask for Arrow sometimes, and never wait long for news."""
    # A request that is made again, to find the simplest that fails, must be bent in the same way.
    chance = random.Random(zlib.crc32(repr((case.operation.label, case.path_parameters, case.query, case.body)).encode()))
    phase = case.meta.phase.name.value if case.meta is not None else ""
    if isinstance(case.path_parameters, dict) and phase != "stateful":
        case.path_parameters.update({name: world.known(name, given, chance) for name, given in case.path_parameters.items()})
    if isinstance(case.query, dict):
        case.query.update({name: world.known(name, given, chance) for name, given in case.query.items()})
        if _seconds(case.query.get("wait")) > 0.02:
            case.query["wait"] = 0.02
    if isinstance(case.body, dict):
        records = case.body.get("records")
        for part in [case.body, *(records if isinstance(records, list) else ())]:
            if isinstance(part, dict):
                part.update({name: world.known(name, part[name], chance) for name in BODY_NAMES if name in part})
    if chance.random() < 0.3:
        case.headers["Accept"] = ARROW
    if chance.random() < 0.05 and phase != "coverage":
        case.headers.update(chance.choice(ODD_HEADERS))


def _seconds(wait: Any) -> float:
    try:
        return float(wait)
    except (TypeError, ValueError):
        return 0.0


def read_arrow(context: schemathesis.DeserializationContext, response: schemathesis.Response) -> str:
    """An answer in Arrow; raises where it is none."""
    reader = pa.BufferReader(response.content)
    while reader.tell() < len(response.content):
        with pa.ipc.open_stream(reader) as stream:
            stream.read_all().validate(full=True)
    return ""


@contextmanager
def taught(world: World) -> Iterator[None]:
    """Meanwhile schemathesis knows what it cannot know by itself."""

    def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
        bend(world, case)

    def a_refusal_changes_nothing(
        context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
    ) -> None:
        if response.status_code >= 400:
            before, world.state = world.state, world.read()
            assert world.state == before, f"a request that was refused changed {_difference(before, world.state)}"
        elif case.method != "GET":
            world.state = world.renewed()

    valid = arrow_bodies()
    some = st.sampled_from(valid) | st.builds(broken, st.randoms(use_true_random=False), st.just(valid))
    schemathesis.openapi.media_type(ARROW, some)
    schemathesis.deserializer(ARROW)(read_arrow)
    schemathesis.hook(before_call)
    schemathesis.check(a_refusal_changes_nothing)
    try:
        yield
    finally:
        hooks.unregister(before_call)
        CHECKS.unregister(a_refusal_changes_nothing.__name__)


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    name = next(name for name in {**before, **after} if before.get(name) != after.get(name))
    return f"{name}: {before.get(name)} is {after.get(name)} now"[:2000]


def try_all(
    url: str, token: str, *, examples: int, sequences: int, limits: bool, seed: int, operations: Sequence[str] = ()
) -> Found:
    """Try every operation of the document at `url`, or those with these ids."""
    found = Found()
    checks = {"enabled": False} | {name: {"enabled": True} for name in WANTED}
    wanted = {
        "seed": seed,
        "headers": {"Authorization": f"Bearer {token}"},
        "request-timeout": LIMIT_S,
        "continue-on-failure": True,
        "suppress-health-check": ["all"],
        "generation": {"max-examples": examples, "database": "none"},
        "operations": [
            # The bodies of batches have the most forms.
            {"include-operation-id": "append", "generation": {"max-examples": 4 * examples}},
            *([{"exclude-operation-id": list(operations), "enabled": False}] if operations else []),
        ],
        "checks": checks,
        "output": {"sanitization": {"enabled": False}},
        "phases": {
            "coverage": {"enabled": limits},
            "stateful": {"enabled": sequences > 0, "generation": {"max-examples": max(sequences, 1)}},
        },
    }
    config = schemathesis.Config.from_dict(wanted)
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config, headers=wanted["headers"])
    with taught(World(url, token)):
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                add_scenario(found, event)
            elif isinstance(event, events.NonFatalError | events.FatalError):
                told = getattr(event, "info", None) or event
                found.faults[str(getattr(event, "label", "")), type(event).__name__] = str(told)
    return found


def add_scenario(found: Found, event: events.ScenarioFinished) -> None:
    """Count a scenario's answers, and keep its faults."""
    recorder = event.recorder
    for at, interaction in recorder.interactions.items():
        label = recorder.cases[at].value.operation.label
        found.answers[label, interaction.response.status_code if interaction.response else 0] += 1
    for at, checks in recorder.checks.items():
        case = recorder.cases[at].value
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                told = f"{failure.title}\n{failure.message}\n{check.failure_info.code_sample}"
                found.faults.setdefault((case.operation.label, failure.title), told[:3000])


def main() -> None:
    """Try what the command line asks for, and print the counts."""
    parser = argparse.ArgumentParser(description="Tries every operation of the endpoint's OpenAPI document.")
    parser.add_argument("--examples", type=int, default=100, help="random requests for each operation")
    parser.add_argument("--sequences", type=int, default=100, help="sequences of requests of which each uses an earlier answer")
    parser.add_argument("--no-limits", action="store_true", help="leave out the requests at the limits of each parameter")
    parser.add_argument("--operation", action="append", default=[], help="only this one, by its id; may be given several times")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}, schemathesis {schemathesis.__version__}")
    token, began = secrets.token_urlsafe(), time.monotonic()
    endpoint = Endpoint("--token", token, "--vanish-after", "3600")
    try:
        found = try_all(
            endpoint.url,
            token,
            examples=options.examples,
            sequences=options.sequences,
            limits=not options.no_limits,
            seed=options.seed,
            operations=options.operation,
        )
    finally:
        endpoint.stop()
        endpoint.folder.cleanup()
    print("\n".join(found.lines()))
    print(f"{time.monotonic() - began:.0f} s")
    for (label, _), told in found.faults.items():
        print(f"\n{label}: {told}", file=sys.stderr)
    raise SystemExit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
