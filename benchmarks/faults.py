"""Kill anything, any time: `python benchmarks/faults.py --rounds 200`; `--help` says more.

Real producers, endpoints, page servers with a session each, and a reader run while, round after round, one of them is killed or
stopped, ends by an exit or SIGTERM, or a connection is cut in mid-request; in every third round two such things at once.
Producers have children: forked ones, and processes to which the client is pickled. Then all is brought back, and what was sent,
acknowledged, stored and seen is compared, record by record. The last lines say what was found; the exit status is 1 when anything
was lost, doubled, or out of order. See docs/reliability.md.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.balancers import BALANCERS
from support.faults.scene import DATABASE_FAULTS, FAULTS, HARDER, STANDBY_FAULTS, Fault, Scene, Stuck
from support.postgresql import PostgresServer
from support.standby import StandbyPair

ROUNDS_PER_RUN = 10


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, help="of the faults and their moments; printed, else drawn")
    parser.add_argument("--producers", type=int, default=3)
    parser.add_argument("--only", action="append", metavar="FAULT", help="such as 'kill endpoint'; more than once for several")
    parser.add_argument("--endpoint", metavar="COMMAND", help="another program to start in place of `streamvis rest`")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite", help="postgresql: a server of its own")
    parser.add_argument("--endpoints", type=int, default=1, help="how many on one database")
    parser.add_argument("--page-servers", type=int, default=1, help="how many, each with a browser")
    parser.add_argument("--standby", action="store_true", help="the database has a synchronous standby, which is promoted")
    parser.add_argument("--balancer", choices=BALANCERS, help="stands before the endpoints; all others know its address alone")
    parser.add_argument("--crowded", action="store_true", help="the endpoint asks producers to gather, as if there were many")
    parser.add_argument(
        "--warm", action="store_true", help="start all programs from a process with the libraries, which is quicker"
    )
    parser.add_argument("--window-ms", type=float, default=100, help="how much a killed producer may take with it")
    parser.add_argument("--patience-s", type=float, default=60, help="how long anything may take to come back")
    parser.add_argument("--folder", type=Path, help="keep all files there, not in a temporary folder")
    return parser.parse_args()


def pick(dice: random.Random, faults: list[Fault]) -> list[Fault]:
    """The faults of one round: one, or in a third of the rounds two of different targets."""
    first = weighted(dice, faults)
    others = [fault for fault in faults if fault.target != first.target]
    return [first, weighted(dice, others)] if others and dice.random() < 1 / 3 else [first]


def weighted(dice: random.Random, faults: list[Fault]) -> Fault:
    """One of them; those that are harder on producers' records three times as often."""
    return dice.choices(faults, [3 if fault in HARDER else 1 for fault in faults])[0]


def play_round(scene: Scene, dice: random.Random, faults: list[Fault]) -> None:
    """Break, wait, bring back in any order, compare."""
    pause = threading.Event()
    ends = []
    pause.wait(dice.uniform(0, 0.3))
    for fault in faults:
        ends.append((fault, scene.begin(fault)))
        pause.wait(dice.uniform(0, 0.6))
    dice.shuffle(ends)
    # An endpoint does not start without its database.
    for _, end in sorted(ends, key=lambda one: one[0].target != "database"):
        end()
    scene.check()


def main() -> int:
    """Play the rounds; 0 when nothing was found."""
    options = arguments()
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    dice = random.Random(seed)
    known = [*FAULTS, *(DATABASE_FAULTS if options.store == "postgresql" else [])]
    known += STANDBY_FAULTS if options.standby else []
    faults = [fault for fault in known if options.only is None or str(fault) in options.only]
    if options.only and len(faults) < len(set(options.only)):
        print(f"--only takes: {', '.join(map(str, known))}", file=sys.stderr)
        return 2
    if options.store == "sqlite" and (options.endpoints > 1 or options.standby):
        print("--endpoints and --standby need --store postgresql", file=sys.stderr)
        return 2
    print(f"seed {seed}, {options.rounds} rounds, {options.producers} producers", flush=True)
    with tempfile.TemporaryDirectory(prefix="streamvis-faults-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.store == "sqlite":
            return play(options, folder, dice, faults)
        # It is killed by signals alone, and the machine stays: what the system holds for its disk is kept.
        server = StandbyPair(autovacuum="on") if options.standby else PostgresServer(autovacuum="on")
        try:
            return play(options, folder, dice, faults, server)
        finally:
            server.remove()


def play(
    options: argparse.Namespace,
    folder: Path,
    dice: random.Random,
    faults: list[Fault],
    database: PostgresServer | StandbyPair | None = None,
) -> int:
    """All rounds, with the last lines."""
    done: Counter[str] = Counter()
    began, number, stuck = time.monotonic(), 0, ""
    scene = Scene(
        folder,
        producers=options.producers,
        dice=dice,
        window_s=options.window_ms / 1000,
        patience_s=options.patience_s,
        endpoint=options.endpoint and shlex.split(options.endpoint),
        crowded=options.crowded,
        database=database,
        endpoints=options.endpoints,
        page_servers=options.page_servers,
        balancer=options.balancer,
        all_warm=options.warm,
    )
    try:
        scene.check()
        for number in range(1, options.rounds + 1):
            picked, at = pick(dice, faults), time.monotonic()
            play_round(scene, dice, picked)
            done.update(map(str, picked))
            if number % ROUNDS_PER_RUN == 0 or number == options.rounds:
                scene.end_run()
                if number < options.rounds:
                    scene.begin_run()
            told = "ok" if scene.findings.is_good else "NOT GOOD"
            names = ", ".join(map(str, picked))
            print(f"round {number} of {options.rounds}: {names}: {told} ({time.monotonic() - at:.1f} s)", flush=True)
    except Stuck as error:
        stuck = f"stuck in round {number}: {error}"
    finally:
        scene.close()
    return report(scene, done, number, stuck, time.monotonic() - began)


def report(scene: Scene, done: Counter[str], rounds: int, stuck: str, took_s: float) -> int:
    """Print the last lines, and return the exit status."""
    found = scene.findings
    for what in ("lost", "doubled", "out_of_order", "invented"):
        for one in sorted(getattr(found, what), key=str)[:20]:
            print(f"{what}: {' '.join(map(str, one))}")
    if stuck:
        print(stuck)
    print(f"\n{rounds} rounds in {took_s / 60:.1f} minutes, {scene.runs} runs, {scene.sessions} sessions of the page")
    for kind in ("kill", "stop", "cut", "exit", "terminate", "promote"):
        counts = {name.removeprefix(f"{kind} "): count for name, count in sorted(done.items()) if name.startswith(kind)}
        print(f"{kind} {sum(counts.values())}: {', '.join(f'{name} {count}' for name, count in counts.items()) or 'none'}")
    print(f"connections cut: {scene.cuts}")
    print(f"children of producers: {scene.children}")
    print(f"of producers that were gone: {len(found.left_in_spool):,} records left in spools and delivered later")
    print(f"gone with killed producers: {len(found.gone_with_producer):,} records,", end=" ")
    print(f"sent {found.longest_window_s * 1000:.0f} ms before the kill at most")
    print(f"records compared: {scene.records:,}")
    print(f"lost {len(found.lost)}, doubled {len(found.doubled)},", end=" ")
    print(f"out of order {len(found.out_of_order)}, never sent {len(found.invented)}")
    is_good = found.is_good and not stuck
    print("passed" if is_good else "FAILED")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
