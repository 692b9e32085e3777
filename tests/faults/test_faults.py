"""The fault program: some rounds of it, and that it tells when an endpoint is broken in the ways it is there to find."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import faults


def test_nothing_is_lost_doubled_or_misread_whatever_is_killed_stopped_or_cut():
    each_once = list(dict.fromkeys(faults.KINDS))
    result = faults.run(8, 20, kinds=each_once[:5] + each_once[:3])
    assert result.is_good, "\n".join(result.lines())
    assert result.rounds == 8 and result.acknowledged > 100 and result.compared >= result.acknowledged
    assert result.window_s < 0.3  # a tenth of a second, and what a busy machine adds


BROKEN = {
    "lost": """
        # Says that batches are stored half a second before they are.
        async def append(self, batch, appended=Writer.append):
            async def later():
                await asyncio.sleep(0.5)
                await appended(self, batch)
            self.__dict__.setdefault("later", []).append(asyncio.create_task(later()))
            return Ack(1)

        Writer.append = append
    """,
    "doubled": """
        # Forgets which batches it has stored.
        statements.GET_PRODUCER = statements.GET_PRODUCER.replace("WHERE", "WHERE 0 AND")
    """,
}
KINDS = {"lost": ["endpoint killed"], "doubled": ["connections cut"]}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_endpoint_is_found_out(what, tmp_path):
    program = tmp_path / "broken.py"
    head = """
        import asyncio
        from streamvis.cli import main
        from streamvis.endpoint.writer import Writer
        from streamvis.records import Ack
        from streamvis.store import statements
    """
    tail = 'if __name__ == "__main__":\n    main()\n'
    program.write_text("\n".join([textwrap.dedent(head), textwrap.dedent(BROKEN[what]), tail]))
    result = faults.run(6, 3, kinds=KINDS[what], endpoint=[sys.executable, str(program), "rest"])
    assert getattr(result, what) > 0, "\n".join(result.lines())
    assert not result.is_good
