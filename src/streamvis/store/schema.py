"""The tables of the SQLite store, and what turns a file of an older version into one of this.

A run's rows and values belong to a log. Clearing or deleting a run gives it another log, so that it costs the same however much
there was; what the dropped log holds is deleted bit by bit in the background.

What a run needs at each append or read (its head, its first and last step, each key's newest value) stands in the run's and
the key's own row, so that no statement looks at all of a run's past.
"""

from __future__ import annotations

__all__ = ["MIGRATIONS", "SCHEMA", "SCHEMA_VERSION"]

SCHEMA_VERSION = 8

_KEYS_PENDING = "CREATE INDEX keys_pending ON keys (no) WHERE pending > 0;"
_KEY_INDEXES = """
CREATE INDEX keys_of_log ON keys (log, no);
CREATE INDEX keys_due ON keys (due, no, pending) WHERE due = 1;
"""
_CUTS = """
-- What is being taken back of a log in pieces: what lies at `step` or later and came with the stretches that are cut. `stretches`
-- holds the first batch of each and whether it is. Keys before `key` are done, and of it what is beyond `through`, a row or step.
CREATE TABLE cuts (
    no INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    step INTEGER NOT NULL,
    stretches TEXT NOT NULL,
    key INTEGER NOT NULL DEFAULT 0,
    through INTEGER NOT NULL DEFAULT 9223372036854775807,
    changed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX cuts_of_log ON cuts (log);
"""
_RUN_INDEXES = """
CREATE INDEX runs_of_app ON runs (app, live) WHERE deleted = 0;
CREATE INDEX runs_in_order ON runs (app, created, no) WHERE deleted = 0;
CREATE INDEX runs_by_state ON runs (state) WHERE deleted = 0;
CREATE INDEX runs_of_log ON runs (log);
"""
_RUNS_RESTORABLE = """
CREATE INDEX runs_restorable ON runs (restorable_until) WHERE restorable_until IS NOT NULL;
"""
_CONFIGS = """
-- By the run's no. A config may be long, and most readers of a run do not need it: in the run's row they would read through it.
CREATE TABLE configs (no INTEGER PRIMARY KEY, config TEXT NOT NULL);
"""
_CHUNK_INDEXES = """
CREATE INDEX chunks_of_log ON chunks (log, last_seq, first_seq, key, first_row, size);
CREATE UNIQUE INDEX chunks_of_key ON chunks (key, first_row, count, last_step, first_step, size);
"""
_ATTEMPTS = """
-- began orders a run's attempts, then no. resume_at is the step at which it took back what earlier ones had sent, ends_at the
-- lowest at which a later one did. name is NULL where an attempt has one start only.
CREATE TABLE attempts (
    no INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    name TEXT,
    began REAL NOT NULL,
    resume_at INTEGER,
    ends_at INTEGER,
    UNIQUE (run, name)
);
CREATE INDEX attempts_in_order ON attempts (run, began, no);

-- What was stored with the batch seq, and until the next stretch, came from the attempt.
CREATE TABLE stretches (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
"""
_SUMMARIES = """
CREATE TABLE summaries (
    no INTEGER PRIMARY KEY,
    key INTEGER NOT NULL,
    level INTEGER NOT NULL,
    first_row INTEGER NOT NULL,
    checksum INTEGER,
    body BLOB NOT NULL,
    UNIQUE (key, level, first_row)
);
"""
_DIGESTS = """
-- Of a key's first `digested` rows: how many numbers are in a column, the last, the lowest and the highest, each with its step.
-- A last that is NULL with a step is NaN. A number is a whole number where it was sent as one.
CREATE TABLE digests (
    key INTEGER NOT NULL,
    column TEXT NOT NULL,
    count INTEGER NOT NULL,
    last,
    last_step INTEGER,
    min,
    min_step INTEGER,
    max,
    max_step INTEGER,
    PRIMARY KEY (key, column)
) WITHOUT ROWID;
CREATE INDEX keys_undigested ON keys (no) WHERE kind = 'rows' AND digested < rows;
"""
_SUMMARIES_UNCHECKED = _SUMMARIES.replace("    checksum INTEGER,\n", "")

SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- seq counts the changes of the app's list of runs; lives counts its live starts; newest is a run's no; made counts all runs that
-- it ever had.
CREATE TABLE apps (
    no INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL DEFAULT 0,
    runs INTEGER NOT NULL DEFAULT 0,
    lives INTEGER NOT NULL DEFAULT 0,
    newest INTEGER,
    made INTEGER NOT NULL DEFAULT 0
);

-- live is the number of the live start that made the run; a deleted run leaves its row, so that its id is never used again.
-- dropped counts the records that its producers said they had to drop, late those that came late from an attempt that another
-- one had taken the place of. attempt is the one whose rows or values were stored last. number is the run's among those ever made
-- in its app, from 0; color is NULL unless somebody chose one; tags is a JSON list; ended is NULL while the run is running. What
-- a deleted run had is kept while restorable_until is not NULL.
CREATE TABLE runs (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    app INTEGER NOT NULL,
    name TEXT,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    first_step INTEGER,
    last_step INTEGER,
    live INTEGER,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    log INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    late INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER,
    number INTEGER NOT NULL DEFAULT 0,
    color TEXT,
    archived INTEGER NOT NULL DEFAULT 0,
    ended REAL,
    restorable_until REAL,
    tags TEXT NOT NULL DEFAULT '[]',
    note TEXT NOT NULL DEFAULT ''
);
{_RUN_INDEXES}
{_RUNS_RESTORABLE}
{_CONFIGS}

-- cuts counts how often chunks were changed by something else than tidying.
CREATE TABLE logs (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    dropped INTEGER NOT NULL DEFAULT 0,
    cuts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX logs_dropped ON logs (no) WHERE dropped = 1;

-- number, seq, refused and warnings are of the producer's last batch: the answer to the same batch sent again.
CREATE TABLE producers (
    run INTEGER NOT NULL,
    id TEXT NOT NULL,
    number INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    refused TEXT NOT NULL,
    warnings TEXT NOT NULL,
    started INTEGER NOT NULL,
    state TEXT,
    dropped INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER,
    PRIMARY KEY (run, id)
) WITHOUT ROWID;
{_ATTEMPTS}
-- newest_* are of the key's newest value, and NULL for rows. Of rows: rows counts them all; the first `sealed` of them lie in
-- chunks that stay as they are, and of the first `summed` there are summaries; pending counts the chunks that came since the
-- key was tidied, open_bytes is what its unsealed chunks hold; due says that there is enough of them to be tidied.
-- first_missing is the lowest step of a value that was there and is not kept any more.
CREATE TABLE keys (
    no INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    columns TEXT NOT NULL,
    newest_step INTEGER,
    newest_seq INTEGER,
    newest_size INTEGER,
    rows INTEGER NOT NULL DEFAULT 0,
    sealed INTEGER NOT NULL DEFAULT 0,
    summed INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    open_bytes INTEGER NOT NULL DEFAULT 0,
    due INTEGER NOT NULL DEFAULT 0,
    digested INTEGER NOT NULL DEFAULT 0,
    first_missing INTEGER,
    UNIQUE (log, name)
);
CREATE INDEX keys_with_news ON keys (log, newest_seq);
{_KEY_INDEXES}
{_DIGESTS}
{_CUTS}

-- A chunk holds rows of the batches first_seq to last_seq; first_row is the number of its first row among its key's. marks tells
-- which rows came with which batch, where it was made by merging (NULL: all with last_seq). body stands last, so that reading
-- the others does not read through it; it is in the form of `packed_rows`, or of the wire. checksum, here and below, is that of
-- `bodies`; NULL for what was written before there were any.
CREATE TABLE chunks (
    no INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    key INTEGER NOT NULL,
    first_row INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    count INTEGER NOT NULL,
    size INTEGER NOT NULL,
    packed INTEGER NOT NULL DEFAULT 0,
    marks BLOB,
    checksum INTEGER,
    body BLOB NOT NULL
);
{_CHUNK_INDEXES}

-- See `summaries`: of the rows from first_row on, as many as the level says.
{_SUMMARIES}

CREATE TABLE key_values (
    no INTEGER PRIMARY KEY,
    key INTEGER NOT NULL,
    step INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    time REAL NOT NULL,
    size INTEGER NOT NULL,
    checksum INTEGER,
    body BLOB NOT NULL,
    UNIQUE (key, step)
);
"""

MIGRATIONS = {
    # Rows had no numbers, and chunks were never merged.
    1: f"""
ALTER TABLE keys ADD COLUMN rows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN summed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN open_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE chunks ADD COLUMN first_row INTEGER NOT NULL DEFAULT 0;
ALTER TABLE chunks ADD COLUMN packed INTEGER NOT NULL DEFAULT 0;
DROP INDEX chunks_of_log;
DROP INDEX chunks_of_key;
UPDATE chunks SET first_row = numbered.before FROM (
    SELECT no, sum(count) OVER (PARTITION BY key ORDER BY last_seq, no) - count AS before FROM chunks
) AS numbered WHERE chunks.no = numbered.no;
UPDATE keys SET rows = chunked.rows, pending = chunked.chunks, open_bytes = chunked.bytes FROM (
    SELECT key, sum(count) AS rows, count(*) AS chunks, sum(size) AS bytes FROM chunks GROUP BY key
) AS chunked WHERE keys.no = chunked.key;
{_KEYS_PENDING}
{_CHUNK_INDEXES}
{_SUMMARIES_UNCHECKED}
""",
    # No one counted what producers dropped. Summaries stood on levels sixteen times as far apart, and are rebuilt.
    2: """
DELETE FROM summaries;
UPDATE keys SET summed = 0, pending = max(pending, sealed > 0);
ALTER TABLE runs ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE producers ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
""",
    # A run had one attempt.
    3: f"""
ALTER TABLE runs ADD COLUMN late INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN attempt INTEGER;
ALTER TABLE producers ADD COLUMN attempt INTEGER;
ALTER TABLE logs ADD COLUMN cuts INTEGER NOT NULL DEFAULT 0;
{_ATTEMPTS}
INSERT INTO attempts (run, began) SELECT no, created FROM runs WHERE deleted = 0;
UPDATE producers SET attempt = (SELECT no FROM attempts WHERE attempts.run = producers.run);
UPDATE runs SET attempt = (SELECT no FROM attempts WHERE attempts.run = runs.no);
INSERT INTO stretches (log, seq, attempt) SELECT log, 0, attempt FROM runs WHERE attempt IS NOT NULL;
""",
    # Bodies had no checksums. Those that are there get one when they are rewritten, as by merging.
    4: """
ALTER TABLE chunks ADD COLUMN checksum INTEGER;
ALTER TABLE key_values ADD COLUMN checksum INTEGER;
ALTER TABLE summaries ADD COLUMN checksum INTEGER;
""",
    # A run's config stood in its row. Which keys were due was looked for among all that had anything pending.
    5: f"""
{_CONFIGS}
INSERT INTO configs (no, config) SELECT no, config FROM runs WHERE deleted = 0;
ALTER TABLE runs DROP COLUMN config;
DROP INDEX runs_of_app;
{_RUN_INDEXES}
ALTER TABLE keys ADD COLUMN due INTEGER NOT NULL DEFAULT 0;
UPDATE keys SET due = 1 WHERE pending > 0;
DROP INDEX keys_pending;
{_KEY_INDEXES}
{_CUTS}
""",
    # Runs had no colour, tags, note or end, and could be neither archived nor restored.
    6: f"""
ALTER TABLE apps ADD COLUMN made INTEGER NOT NULL DEFAULT 0;
UPDATE apps SET made = (SELECT count(*) FROM runs WHERE runs.app = apps.no);
ALTER TABLE runs ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET number = numbered.number FROM (
    SELECT no, row_number() OVER (PARTITION BY app ORDER BY no) - 1 AS number FROM runs
) AS numbered WHERE runs.no = numbered.no;
ALTER TABLE runs ADD COLUMN color TEXT;
ALTER TABLE runs ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN ended REAL;
UPDATE runs SET ended = updated WHERE state != 'running';
ALTER TABLE runs ADD COLUMN restorable_until REAL;
ALTER TABLE runs ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT '';
{_RUNS_RESTORABLE}
ALTER TABLE keys ADD COLUMN digested INTEGER NOT NULL DEFAULT 0;
{_DIGESTS}
""",
    # All values were kept. What an unreleased version made has the column already, see `SqliteStore`.
    7: """
ALTER TABLE keys ADD COLUMN first_missing INTEGER;
""",
}
"""What turns a file of each older version into one of the next."""
