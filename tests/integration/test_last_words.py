"""What a program says at its end of records that no endpoint has: each is kept, or lost, and no sentence says both."""

import pytest

from support.scripts import run_of

# The disk is full after the small records: a file can hold no more than 4 KiB, a large record takes 80 KB.
PROGRAM = """
import resource

client = Client({url!r}, app, spool={spool!r})
print("run", client.init(), flush=True)
for step in range({small}):
    client.sendl(step, "k", {{"x": step}})
client.flush(0.5)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for step in range({large}):
    client.sendl(step, "large", {{"x": [[0.5] * 10_000]}})
client.close(0.5)
"""
AWAY = "http://127.0.0.1:9"
SAID = {
    (AWAY, 0, 85): [f"85 records did not reach {AWAY} in time.", "85 of them were in memory alone, and are lost."],
    (AWAY, 0, 1): [f"1 record did not reach {AWAY} in time.", "1 of them was in memory alone, and is lost."],
    (AWAY, 3, 5): [
        f"8 records did not reach {AWAY} in time. 3 of them are kept in FOLDER. The next producer delivers them, or: SYNC",
        "5 of them were in memory alone, and are lost.",
    ],
    (AWAY, 1, 0): [f"1 record did not reach {AWAY} in time. It is kept in FOLDER. The next producer delivers it, or: SYNC"],
    (None, 0, 2): ["2 records did not reach the disk in time.", "2 of them were in memory alone, and are lost."],
    (None, 1, 1): [
        "1 record is kept in FOLDER. Deliver it: SYNC --url http://HOST:PORT",
        "1 more was in memory alone, and is lost.",
    ],
    (None, 2, 0): ["2 records are kept in FOLDER. Deliver them: SYNC --url http://HOST:PORT"],
}


@pytest.mark.parametrize(("url", "small", "large"), SAID)
def test_what_is_kept_and_what_is_lost_are_told_apart(url, small, large, start_script, tmp_path):
    spool = tmp_path / "spool"
    program = start_script(PROGRAM.format(url=url, spool=str(spool), small=small, large=large), head=False)
    assert program.wait() == 0 and run_of(program), program.output()
    (folder,) = spool.iterdir()
    said = program.output().replace(f"streamvis sync {spool}", "SYNC").replace(str(folder), "FOLDER")
    ours = [line.removeprefix("Streamvis: ") for line in said.splitlines() if line.startswith("Streamvis: ")]
    last = [line for line in ours if any(word in line for word in ("in time", "lost", "kept in FOLDER"))]
    assert last == SAID[url, small, large]
