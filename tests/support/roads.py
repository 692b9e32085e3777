"""A road in this process with a caller's words, and what a test asks of it and of the endpoint that it sends to."""

from streamvis import records
from streamvis.client.intake import Intake
from streamvis.client.outbox import Begin
from streamvis.client.producer_log import Settings
from streamvis.client.road import Road
from streamvis.client.spool.folders import SpoolPlace
from streamvis.wire.arrow import decode_tail_body


class Script(Road):
    """A road with a caller's words."""

    def __init__(self, endpoint, folder, **options):
        settings = Settings(endpoint.url, "app", SpoolPlace(folder), lambda: endpoint, **options)
        super().__init__(settings, on_start=lambda road: None)
        self.intake = Intake()

    def start_run(self, run="run", within_s=10):
        marker = self.begin(Begin(run, {"a": 1}, None, False))
        assert marker.reached.wait(within_s)
        return marker

    def sendl(self, step, key="k", **columns):
        return self.outbox.put(self.intake.rows(step, key, columns or {"x": step}))

    def flush(self, within_s=20):
        return self.mark().reached.wait(within_s)


def steps(endpoint, run="run"):
    """Steps of the rows that the endpoint stored, in order."""
    chunks = [chunk for chunk in endpoint.runs.get(run, []) if isinstance(chunk, records.RowsChunk)]
    return [step for chunk in chunks for rows in decode_tail_body(chunk.body) for step in rows.steps.tolist()]


def spooled(tmp_path):
    return sorted(path for path in (tmp_path / "spool").rglob("*.spool") if path.stat().st_size)


def is_kept(script):
    """Whether all that the endpoint does not have is on the disk."""
    return script.unsettled_records == script.producer.log.kept_records


def fail(error, times):
    """A function that raises `error` so many times, then calls what it stands for."""
    left = iter([error] * times)

    def wrap(real):
        def call(*args, **options):
            if (one := next(left, None)) is not None:
                raise one
            return real(*args, **options)

        return call

    return wrap
