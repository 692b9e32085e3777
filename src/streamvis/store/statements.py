"""All SQL of the SQLite store at work, by name. What reads through all of it, to check or repair, stands in `whole_statements`.

A run's rows and values belong to a log. Clearing or deleting a run gives it another log, so that it costs the same however much
there was; what the dropped log holds is deleted bit by bit in the background.

What a run needs at each append or read (its head, its first and last step, each key's newest value) stands in the run's and
the key's own row, so that no statement here looks at all of a run's past.
"""

SCHEMA_VERSION = 6

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
_SUMMARIES_UNCHECKED = _SUMMARIES.replace("    checksum INTEGER,\n", "")

SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- seq counts the changes of the app's list of runs; lives counts its live starts; newest is a run's no.
CREATE TABLE apps (
    no INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL DEFAULT 0,
    runs INTEGER NOT NULL DEFAULT 0,
    lives INTEGER NOT NULL DEFAULT 0,
    newest INTEGER
);

-- live is the number of the live start that made the run; a deleted run leaves its row, so that its id is never used again.
-- dropped counts the records that its producers said they had to drop, late those that came late from an attempt that another
-- one had taken the place of. attempt is the one whose rows or values were stored last.
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
    attempt INTEGER
);
{_RUN_INDEXES}
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
    UNIQUE (log, name)
);
CREATE INDEX keys_with_news ON keys (log, newest_seq);
{_KEY_INDEXES}
{_CUTS}

-- A chunk holds rows of the batches first_seq to last_seq; first_row is the number of its first row among its key's. marks tells
-- which rows came with which batch, where it was made by merging (NULL: all with last_seq). body stands last, so that reading
-- the others does not read through it; it is in the form of `packed`, or of the wire. checksum, here and below, is that of
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
    # Nobody counted what producers dropped. Summaries stood on levels sixteen times as far apart, and are made anew.
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
    # Bodies had no checksums. Those that are there get one when they are written anew, as by merging.
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
}
"""What turns a file of each older version into one of the next."""

GET_META = "SELECT value FROM meta WHERE name = ?"
SET_META = "INSERT INTO meta (name, value) VALUES (?, ?)"

ADD_APP = "INSERT INTO apps (name) VALUES (?) ON CONFLICT (name) DO NOTHING"
GET_APP = "SELECT no, lives FROM apps WHERE name = ?"
GET_APP_HEAD = """
SELECT meta.value, apps.seq, runs.id FROM meta LEFT JOIN apps ON apps.name = ? LEFT JOIN runs ON runs.no = apps.newest
WHERE meta.name = 'id'
"""
GET_APPS = """
SELECT apps.name, apps.runs, runs.id, runs.created FROM apps LEFT JOIN runs ON runs.no = apps.newest
WHERE apps.runs > 0 ORDER BY apps.name
"""
TOUCH_APP = "UPDATE apps SET seq = seq + 1 WHERE no = ?"
COUNT_RUN = "UPDATE apps SET seq = seq + 1, runs = runs + ? WHERE no = ?"
TAKE_LIVE = "UPDATE apps SET lives = lives + 1, newest = ? WHERE no = ?"
SET_NEWEST = "UPDATE apps SET newest = ? WHERE no = ?"
NEXT_NEWEST = "SELECT no, id FROM runs WHERE app = ? AND deleted = 0 AND live IS NOT NULL ORDER BY live DESC LIMIT 1"

_RUN_COLUMNS = """
SELECT runs.no, runs.id, apps.no, apps.name, runs.name, state, created, updated, first_step, last_step, epoch,
       runs.seq, log, deleted, apps.newest IS runs.no, dropped, late, attempt,
       (SELECT value FROM meta WHERE meta.name = 'id')
FROM runs JOIN apps ON apps.no = runs.app
"""
GET_RUN = f"{_RUN_COLUMNS} WHERE runs.id = ?"
GET_NEWEST = f"{_RUN_COLUMNS} WHERE apps.name = ? AND runs.no = apps.newest"
GET_RUNS_OF_APP = f"""
{_RUN_COLUMNS} WHERE apps.name = ? AND deleted = 0 AND runs.no IS NOT apps.newest ORDER BY created DESC, runs.no DESC LIMIT ?
"""
GET_CONFIG = "SELECT config FROM configs WHERE no = ?"
ADD_CONFIG = "INSERT INTO configs (no, config) VALUES (?, ?)"
CHANGE_CONFIG = "UPDATE configs SET config = ? WHERE no = ?"
DELETE_CONFIG = "DELETE FROM configs WHERE no = ?"
ADD_RUN = """
INSERT INTO runs (id, app, name, state, created, updated, live, epoch, seq, log) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, ?)
"""
SAVE_RUN = """
UPDATE runs SET name = ?, state = ?, updated = ?, first_step = ?, last_step = ?, epoch = ?, seq = ?, log = ?,
    dropped = ?, late = ?, attempt = ?
WHERE no = ?
"""
BURY_RUN = "UPDATE runs SET deleted = 1, name = NULL, live = NULL, seq = seq + 1 WHERE no = ?"

ADD_LOG = "INSERT INTO logs DEFAULT VALUES"
DROP_LOG = "UPDATE logs SET dropped = 1 WHERE no = ?"
GET_DROPPED_LOG = "SELECT no FROM logs WHERE dropped = 1 AND no > 0 AND no NOT IN (SELECT value FROM json_each(?)) LIMIT 1"
DELETE_LOG = "DELETE FROM logs WHERE no = ?"

GET_PRODUCER = "SELECT number, seq, refused, warnings, dropped FROM producers WHERE run = ? AND id = ?"
SAVE_NUMBER = """
INSERT INTO producers (run, id, number, seq, refused, warnings, started, state, dropped)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, NULL, ?7)
ON CONFLICT (run, id) DO UPDATE SET number = excluded.number, seq = excluded.seq, refused = excluded.refused,
    warnings = excluded.warnings, dropped = excluded.dropped
"""
START_PRODUCER = """
INSERT INTO producers (run, id, number, seq, refused, warnings, started, state, attempt)
VALUES (?, ?, -1, 0, '[]', '[]', 1, NULL, ?)
ON CONFLICT (run, id) DO UPDATE SET started = 1, state = NULL, attempt = excluded.attempt
"""
END_PRODUCER = """
INSERT INTO producers (run, id, number, seq, refused, warnings, started, state) VALUES (?, ?, -1, 0, '[]', '[]', 0, ?)
ON CONFLICT (run, id) DO UPDATE SET state = excluded.state
"""
END_OTHER_PRODUCER = "UPDATE producers SET state = ? WHERE run = ? AND id = ? AND state IS NULL"
END_PRODUCERS = "UPDATE producers SET state = ? WHERE run = ? AND started = 1 AND state IS NULL"
GET_PRODUCER_STATES = """
SELECT DISTINCT state FROM producers LEFT JOIN attempts ON attempts.no = attempt
WHERE producers.run = ? AND (started = 1 OR state IS NOT NULL) AND ends_at IS NULL
"""
GET_AWAITED = """
SELECT id FROM runs WHERE state = ? AND deleted = 0 AND EXISTS (
    SELECT 1 FROM producers LEFT JOIN attempts ON attempts.no = producers.attempt
    WHERE producers.run = runs.no AND started = 1 AND producers.state IS NULL AND ends_at IS NULL
)
"""
DELETE_PRODUCERS = "DELETE FROM producers WHERE run = ?"

ADD_ATTEMPT = """
INSERT INTO attempts (run, name, began, ends_at)
VALUES (?1, ?2, ?3, (SELECT min(resume_at) FROM attempts WHERE run = ?1 AND began > ?3))
"""
GET_ATTEMPT = "SELECT no, began, resume_at, ends_at FROM attempts WHERE no = ?"
GET_ATTEMPT_NAMED = "SELECT no, began, resume_at, ends_at FROM attempts WHERE run = ? AND name = ?"
GET_ATTEMPT_OF_PRODUCER = """
SELECT attempts.no, began, resume_at, ends_at FROM producers JOIN attempts ON attempts.no = attempt
WHERE producers.run = ? AND id = ?
"""
GET_LATEST_ATTEMPT = "SELECT no, began, resume_at, ends_at FROM attempts WHERE run = ? ORDER BY began DESC, no DESC LIMIT 1"
SET_RESUMED = "UPDATE attempts SET resume_at = ? WHERE no = ?"
END_EARLIER_ATTEMPTS = """
UPDATE attempts SET ends_at = min(coalesce(ends_at, ?1), ?1) WHERE run = ?2 AND (began, no) < (?3, ?4)
"""
DELETE_ATTEMPTS = "DELETE FROM attempts WHERE run = ?"
ADD_STRETCH = "INSERT INTO stretches (log, seq, attempt) VALUES (?, ?, ?)"
GET_STRETCHES = """
SELECT stretches.seq, (began, attempts.no) < (?2, ?3) FROM stretches JOIN attempts ON attempts.no = attempt
WHERE log = ?1 ORDER BY stretches.seq
"""

GET_KEYS = "SELECT name, kind, columns FROM keys WHERE log = ? ORDER BY no"
GET_KEY = "SELECT no, kind, columns, newest_step, rows FROM keys WHERE log = ? AND name = ?"
GET_KEY_BY_NO = "SELECT name, kind, columns FROM keys WHERE no = ?"
GET_KEY_NAMES = "SELECT runs.id, keys.name FROM keys LEFT JOIN runs ON runs.log = keys.log WHERE keys.no = ?"
ADD_KEY = "INSERT INTO keys (log, name, kind, columns) VALUES (?, ?, ?, ?)"
ADD_KEY_ROWS = """
UPDATE keys SET columns = ?2, rows = rows + ?3, pending = pending + 1, open_bytes = open_bytes + ?4,
    due = max(due, pending + 1 >= ?5, rows + ?3 - sealed >= ?6, open_bytes + ?4 >= ?7, sealed - summed >= ?8)
WHERE no = ?1
"""
SET_KEY_NEWEST = "UPDATE keys SET newest_step = ?, newest_seq = ?, newest_size = ? WHERE no = ?"
GET_KEYS_WITH_NEWS = """
SELECT newest_seq, newest_size, no, newest_step FROM keys
WHERE log = ?1 AND newest_seq > ?2 AND newest_seq <= ?3 AND name NOT IN (SELECT value FROM json_each(?4)) ORDER BY newest_seq
"""
GET_KEYS_DUE = """
SELECT keys.no, log, name, sealed, summed, pending, cuts FROM keys JOIN logs ON logs.no = log
WHERE due = 1 AND keys.no > ? AND keys.no NOT IN (SELECT value FROM json_each(?)) ORDER BY keys.no LIMIT ?
"""
COUNT_UNMERGED = """
SELECT coalesce(sum(pending), 0) FROM keys WHERE due = 1 AND no NOT IN (SELECT value FROM json_each(?))
"""
GET_CUTS = "SELECT cuts FROM logs WHERE no = ?"
SET_KEY_TIDIED = """
UPDATE keys SET sealed = ?1, summed = ?2, pending = pending - ?3,
    open_bytes = (SELECT coalesce(sum(size), 0) FROM chunks WHERE key = ?4 AND first_row >= ?1)
WHERE no = ?4
"""
SET_KEY_DUE = """
UPDATE keys SET due = pending > 0 AND max(pending >= ?2, rows - sealed >= ?3, open_bytes >= ?4, sealed - summed >= ?5)
WHERE no = ?1
"""

ADD_CHUNK = """
INSERT INTO chunks (log, key, first_row, first_seq, last_seq, first_step, last_step, count, size, packed, marks, checksum, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# What a tail leaves out, as a JSON array of names.
_AND_NOT_EXCLUDED = "AND key NOT IN (SELECT no FROM keys WHERE log = ?1 AND name IN (SELECT value FROM json_each(?4)))"
GET_CHUNK_SIZES = f"""
SELECT min(last_seq, ?3), size FROM chunks WHERE log = ?1 AND last_seq > ?2 AND first_seq <= ?3 {_AND_NOT_EXCLUDED}
ORDER BY last_seq, first_seq
"""
GET_CHUNKS = f"""
SELECT key, no FROM chunks
WHERE log = ?1 AND last_seq > ?2 AND first_seq <= ?3 {_AND_NOT_EXCLUDED} ORDER BY last_seq, key, first_row
"""
GET_CHUNKS_OF_KEY = """
SELECT no, first_step, last_step, count, size FROM chunks
WHERE key = ? AND last_step >= ? AND first_step <= ? ORDER BY first_row
"""
GET_OPEN_CHUNKS = """
SELECT no, first_row, count, size, first_seq, last_seq FROM chunks WHERE key = ? AND first_row >= ? ORDER BY first_row LIMIT ?
"""
GET_CHUNKS_IN = """
SELECT no, first_row, count FROM chunks
WHERE key = ?1 AND first_row < ?3 AND first_row >= (
    SELECT coalesce(max(first_row), 0) FROM chunks WHERE key = ?1 AND first_row <= ?2
) ORDER BY first_row
"""
GET_CHUNK = """
SELECT log, key, first_row, first_seq, last_seq, first_step, last_step, count, packed, marks, checksum, body
FROM chunks WHERE no = ?
"""

COUNT_CUT = "UPDATE logs SET cuts = cuts + 1 WHERE no = ?"
ADD_CUT = "INSERT INTO cuts (log, step, stretches) VALUES (?, ?, ?)"
GET_CUT = "SELECT log, step, stretches, key, through, changed FROM cuts WHERE no = ?"
GET_FIRST_CUT = "SELECT no FROM cuts WHERE no > 0 ORDER BY no LIMIT 1"
SET_CUT_DONE = "UPDATE cuts SET key = ?, through = ?, changed = ? WHERE no = ?"
DELETE_CUT = "DELETE FROM cuts WHERE no = ?"
DELETE_CUTS = "DELETE FROM cuts WHERE log = ?"
GET_RUN_OF_LOG = f"{_RUN_COLUMNS} WHERE runs.log = ?"
GET_KEYS_TO_CUT = "SELECT no, kind, rows, sealed, summed FROM keys WHERE log = ? AND no >= ? ORDER BY no"
GET_CHUNKS_TO_CUT = """
SELECT no, first_row, first_seq, last_seq, first_step, count, size FROM chunks
WHERE key = ? AND first_row <= ? AND last_step >= ? ORDER BY first_row DESC LIMIT ?
"""
GET_CHUNKS_AFTER = "SELECT no, first_row FROM chunks WHERE key = ? AND first_row > ? ORDER BY first_row"
RENUMBER_CHUNK = "UPDATE chunks SET first_row = ? WHERE no = ?"
GET_CHUNK_STEPS = "SELECT min(first_step), max(last_step) FROM chunks WHERE key = ?"
SET_KEY_CUT = """
UPDATE keys SET (pending, open_bytes) =
    (SELECT max(1, count(*)), coalesce(sum(size), 0) FROM chunks WHERE key = ?4 AND first_row >= ?2),
    rows = ?1, sealed = ?2, summed = ?3, due = 1
WHERE no = ?4
"""
DELETE_SUMMARIES_FROM = "DELETE FROM summaries WHERE key = ? AND level = ? AND first_row > ?"
DELETE_SUMMARIES = "DELETE FROM summaries WHERE key = ?"
DELETE_KEY = "DELETE FROM keys WHERE no = ?"
GET_VALUES_TO_CUT = """
SELECT no, step, seq FROM key_values WHERE key = ? AND step <= ? AND step >= ? ORDER BY step DESC LIMIT ?
"""
GET_NEWEST_VALUE = "SELECT step, seq, size FROM key_values WHERE key = ? ORDER BY step DESC LIMIT 1"
GET_VALUE_STEPS = """
SELECT (SELECT min(step) FROM key_values WHERE key = ?1), (SELECT max(step) FROM key_values WHERE key = ?1)
"""

GET_KEY_LENGTHS = "SELECT rows, summed FROM keys WHERE no = ?"
ADD_SUMMARY = "INSERT INTO summaries (key, level, first_row, checksum, body) VALUES (?, ?, ?, ?, ?)"
GET_SUMMARY = "SELECT checksum, body FROM summaries WHERE key = ? AND level = ? AND first_row = ?"

SAVE_VALUE = """
INSERT INTO key_values (key, step, seq, time, size, checksum, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key, step) DO UPDATE SET seq = excluded.seq, time = excluded.time, size = excluded.size,
    checksum = excluded.checksum, body = excluded.body
"""
GET_VALUE = "SELECT seq, checksum, body FROM key_values WHERE key = ? AND step = ?"
GET_VALUE_SPAN = """
SELECT (SELECT min(step) FROM key_values WHERE key = ?1 AND step BETWEEN ?2 AND ?3),
       (SELECT max(step) FROM key_values WHERE key = ?1 AND step BETWEEN ?2 AND ?3)
"""
GET_LATEST_VALUE = "SELECT step, size FROM key_values WHERE key = ? AND step BETWEEN ? AND ? ORDER BY step DESC LIMIT 1"

GET_CHUNKS_TO_DELETE = "SELECT no, size FROM chunks WHERE log = ? LIMIT ?"
DELETE_CHUNK = "DELETE FROM chunks WHERE no = ?"
GET_KEYS_TO_DELETE = "SELECT no FROM keys WHERE log = ? LIMIT ?"
GET_VALUES_TO_DELETE = "SELECT no, size FROM key_values WHERE key = ? LIMIT ?"
GET_SUMMARIES_TO_DELETE = "SELECT no, length(body) FROM summaries WHERE key = ? LIMIT ?"
DELETE_SUMMARY = "DELETE FROM summaries WHERE no = ?"
GET_STRETCHES_TO_DELETE = "SELECT log, seq FROM stretches WHERE log = ? LIMIT ?"
DELETE_STRETCH = "DELETE FROM stretches WHERE log = ? AND seq = ?"
DELETE_VALUE = "DELETE FROM key_values WHERE no = ?"
