"""All SQL of the SQLite store, by name. Nothing else in the package contains any.

A run's rows and values belong to a log. Clearing or deleting a run gives it another log, so that it costs the same however much
there was; what the dropped log holds is deleted bit by bit in the background.

What a run needs at each append or read (its head, its first and last step, each key's newest value) stands in the run's and
the key's own row, so that no statement here looks at all of a run's past.
"""

SCHEMA_VERSION = 1

SCHEMA = """
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
CREATE TABLE runs (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    app INTEGER NOT NULL,
    name TEXT,
    config TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    first_step INTEGER,
    last_step INTEGER,
    live INTEGER,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    log INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX runs_of_app ON runs (app, live) WHERE deleted = 0;

CREATE TABLE logs (no INTEGER PRIMARY KEY AUTOINCREMENT, dropped INTEGER NOT NULL DEFAULT 0);
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
    PRIMARY KEY (run, id)
) WITHOUT ROWID;

-- newest_* are of the key's newest value, and NULL for rows.
CREATE TABLE keys (
    no INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    columns TEXT NOT NULL,
    newest_step INTEGER,
    newest_seq INTEGER,
    newest_size INTEGER,
    UNIQUE (log, name)
);
CREATE INDEX keys_with_news ON keys (log, newest_seq);

-- A chunk holds the rows of the batches first_seq to last_seq. marks is for the merging of chunks: which rows came
-- with which batch. body stands last, so that reading the others does not read through it.
CREATE TABLE chunks (
    no INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    key INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    count INTEGER NOT NULL,
    size INTEGER NOT NULL,
    marks BLOB,
    body BLOB NOT NULL
);
CREATE INDEX chunks_of_log ON chunks (log, last_seq, no, size);
CREATE INDEX chunks_of_key ON chunks (key, last_step, first_step, last_seq, no, count, size);

CREATE TABLE key_values (
    no INTEGER PRIMARY KEY,
    key INTEGER NOT NULL,
    step INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    time REAL NOT NULL,
    size INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (key, step)
);
"""

GET_META = "SELECT value FROM meta WHERE name = ?"
SET_META = "INSERT INTO meta (name, value) VALUES (?, ?)"

ADD_APP = "INSERT INTO apps (name) VALUES (?) ON CONFLICT (name) DO NOTHING"
GET_APP = "SELECT no, seq, runs, lives, newest FROM apps WHERE name = ?"
GET_APPS = """
SELECT apps.name, apps.runs, runs.id FROM apps LEFT JOIN runs ON runs.no = apps.newest WHERE apps.runs > 0 ORDER BY apps.name
"""
TOUCH_APP = "UPDATE apps SET seq = seq + 1 WHERE no = ?"
COUNT_RUN = "UPDATE apps SET seq = seq + 1, runs = runs + ? WHERE no = ?"
TAKE_LIVE = "UPDATE apps SET lives = lives + 1, newest = ? WHERE no = ?"
SET_NEWEST = "UPDATE apps SET newest = ? WHERE no = ?"
NEXT_NEWEST = "SELECT no, id FROM runs WHERE app = ? AND deleted = 0 AND live IS NOT NULL ORDER BY live DESC LIMIT 1"

_RUN_COLUMNS = """
SELECT runs.no, runs.id, apps.no, apps.name, runs.name, config, state, created, updated, first_step, last_step, epoch,
       runs.seq, log, deleted, apps.newest IS runs.no
FROM runs JOIN apps ON apps.no = runs.app
"""
GET_RUN = f"{_RUN_COLUMNS} WHERE runs.id = ?"
GET_NEWEST = f"{_RUN_COLUMNS} WHERE apps.name = ? AND runs.no = apps.newest"
GET_RUNS = f"{_RUN_COLUMNS} WHERE deleted = 0 ORDER BY created DESC, runs.no DESC"
GET_RUNS_OF_APP = f"""
{_RUN_COLUMNS} WHERE apps.name = ? AND deleted = 0 ORDER BY apps.newest IS runs.no DESC, created DESC, runs.no DESC
"""
ADD_RUN = """
INSERT INTO runs (id, app, name, config, state, created, updated, live, epoch, seq, log) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?)
"""
SAVE_RUN = """
UPDATE runs SET name = ?, config = ?, state = ?, updated = ?, first_step = ?, last_step = ?, epoch = ?, seq = ?, log = ?
WHERE no = ?
"""
BURY_RUN = "UPDATE runs SET deleted = 1, name = NULL, config = '{}', live = NULL, seq = seq + 1 WHERE no = ?"

ADD_LOG = "INSERT INTO logs DEFAULT VALUES"
DROP_LOG = "UPDATE logs SET dropped = 1 WHERE no = ?"
GET_DROPPED_LOG = "SELECT no FROM logs WHERE dropped = 1 LIMIT 1"
DELETE_LOG = "DELETE FROM logs WHERE no = ?"

GET_PRODUCER = "SELECT number, seq, refused, warnings FROM producers WHERE run = ? AND id = ?"
SAVE_NUMBER = """
INSERT INTO producers (run, id, number, seq, refused, warnings, started, state)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, NULL)
ON CONFLICT (run, id) DO UPDATE SET number = excluded.number, seq = excluded.seq, refused = excluded.refused,
    warnings = excluded.warnings
"""
START_PRODUCER = """
INSERT INTO producers (run, id, number, seq, refused, warnings, started, state) VALUES (?, ?, -1, 0, '[]', '[]', 1, NULL)
ON CONFLICT (run, id) DO UPDATE SET started = 1, state = NULL
"""
END_PRODUCER = """
INSERT INTO producers (run, id, number, seq, refused, warnings, started, state) VALUES (?, ?, -1, 0, '[]', '[]', 0, ?)
ON CONFLICT (run, id) DO UPDATE SET state = excluded.state
"""
END_PRODUCERS = "UPDATE producers SET state = ? WHERE run = ? AND started = 1 AND state IS NULL"
GET_PRODUCER_STATES = "SELECT DISTINCT state FROM producers WHERE run = ? AND (started = 1 OR state IS NOT NULL)"
DELETE_PRODUCERS = "DELETE FROM producers WHERE run = ?"

GET_KEYS = "SELECT name, kind, columns FROM keys WHERE log = ? ORDER BY no"
GET_KEY = "SELECT no, kind, columns, newest_step FROM keys WHERE log = ? AND name = ?"
GET_KEY_BY_NO = "SELECT name, kind, columns FROM keys WHERE no = ?"
ADD_KEY = "INSERT INTO keys (log, name, kind, columns) VALUES (?, ?, ?, ?)"
SET_KEY_COLUMNS = "UPDATE keys SET columns = ? WHERE no = ?"
SET_KEY_NEWEST = "UPDATE keys SET newest_step = ?, newest_seq = ?, newest_size = ? WHERE no = ?"
GET_KEYS_WITH_NEWS = """
SELECT newest_seq, newest_size, no, newest_step FROM keys WHERE log = ? AND newest_seq > ? AND newest_seq <= ? ORDER BY newest_seq
"""

ADD_CHUNK = """
INSERT INTO chunks (log, key, first_seq, last_seq, first_step, last_step, count, size, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
GET_CHUNK_SIZES = "SELECT last_seq, size FROM chunks WHERE log = ? AND last_seq > ? AND last_seq <= ? ORDER BY last_seq, no"
GET_CHUNKS = "SELECT key, body FROM chunks WHERE log = ? AND last_seq > ? AND last_seq <= ? ORDER BY last_seq, no"
GET_CHUNKS_OF_KEY = """
SELECT no, first_step, last_step, count, size FROM chunks
WHERE key = ? AND last_step >= ? AND first_step <= ? ORDER BY last_seq, no
"""
GET_BODY = "SELECT body FROM chunks WHERE no = ?"

SAVE_VALUE = """
INSERT INTO key_values (key, step, seq, time, size, body) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key, step) DO UPDATE SET seq = excluded.seq, time = excluded.time, size = excluded.size, body = excluded.body
"""
GET_VALUE = "SELECT body FROM key_values WHERE key = ? AND step = ?"

GET_CHUNKS_TO_DELETE = "SELECT no, size FROM chunks WHERE log = ? LIMIT ?"
DELETE_CHUNK = "DELETE FROM chunks WHERE no = ?"
GET_VALUES_TO_DELETE = """
SELECT key_values.no, size FROM keys JOIN key_values ON key_values.key = keys.no WHERE keys.log = ? LIMIT ?
"""
DELETE_VALUE = "DELETE FROM key_values WHERE no = ?"
DELETE_KEYS = "DELETE FROM keys WHERE log = ?"
