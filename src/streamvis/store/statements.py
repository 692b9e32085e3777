"""All SQL of a store at work, by name, as SQLite says it; `postgresql.wording` has what PostgreSQL says otherwise.

What reads through a whole store, to check or repair it, stands in `scan_statements`.

The tables stand in `schema`. No statement here looks at all of a run's past.
"""

GET_META = "SELECT value FROM meta WHERE name = ?"
SET_META = "INSERT INTO meta (name, value) VALUES (?, ?)"

ADD_APP = "INSERT INTO apps (name) VALUES (?) ON CONFLICT (name) DO NOTHING"
GET_APP = "SELECT no, lives FROM apps WHERE name = ?"
GET_APP_HEAD = """
SELECT meta.value, apps.seq, runs.id FROM meta LEFT JOIN apps ON apps.name = ? LEFT JOIN runs ON runs.no = apps.newest
WHERE meta.name = 'id'
"""
GET_APPS_HEAD = """
SELECT meta.value, (SELECT sum(seq) FROM apps),
    (SELECT runs.id FROM apps JOIN runs ON runs.no = apps.newest ORDER BY runs.created DESC, runs.no DESC LIMIT 1)
FROM meta WHERE meta.name = 'id'
"""
GET_APPS = """
SELECT apps.name, apps.runs, runs.id, runs.created FROM apps LEFT JOIN runs ON runs.no = apps.newest
WHERE apps.runs > 0 ORDER BY apps.name
"""
TOUCH_APP = "UPDATE apps SET seq = seq + 1 WHERE no = ?"
COUNT_RUN = "UPDATE apps SET seq = seq + 1, runs = runs + ? WHERE no = ?"
COUNT_MADE = "UPDATE apps SET made = made + 1 WHERE no = ?"
TAKE_LIVE = "UPDATE apps SET lives = lives + 1, newest = ? WHERE no = ?"
SET_NEWEST = "UPDATE apps SET newest = ? WHERE no = ?"
NEXT_NEWEST = "SELECT no FROM runs WHERE app = ? AND deleted = 0 AND live IS NOT NULL ORDER BY live DESC LIMIT 1"
NEXT_NEWEST_SHOWN = """
SELECT no FROM runs WHERE app = ? AND deleted = 0 AND live IS NOT NULL AND archived = 0 ORDER BY live DESC LIMIT 1
"""

_RUN_COLUMNS = """
SELECT runs.no, runs.id, apps.no, apps.name, runs.name, state, created, updated, first_step, last_step, epoch,
       runs.seq, log, deleted, apps.newest IS runs.no, dropped, late, attempt, number, color, archived, ended, tags, note,
       (SELECT value FROM meta WHERE meta.name = 'id')
FROM runs JOIN apps ON apps.no = runs.app
"""
GET_RUN = f"{_RUN_COLUMNS} WHERE runs.id = ?"
GET_RUN_TO_CHANGE = f"-- Held, where others may write.{GET_RUN}"
GET_HEADS = """
SELECT id, (SELECT value FROM meta WHERE meta.name = 'id'), epoch, seq FROM runs
WHERE id IN (SELECT value FROM json_each(?)) AND deleted = 0
"""
GET_RUNS_BY_NO = f"{_RUN_COLUMNS} WHERE runs.no IN (SELECT value FROM json_each(?))"
GET_NEWEST = f"{_RUN_COLUMNS} WHERE apps.name = ? AND runs.no = apps.newest"
GET_RUNS_OF_APP = f"""
{_RUN_COLUMNS} WHERE apps.name = ? AND deleted = 0 AND runs.no IS NOT apps.newest ORDER BY created DESC, runs.no DESC LIMIT ?
"""
GET_CONFIG = "SELECT config FROM configs WHERE no = ?"
ADD_CONFIG = "INSERT INTO configs (no, config) VALUES (?, ?)"
CHANGE_CONFIG = "UPDATE configs SET config = ? WHERE no = ?"
DELETE_CONFIG = "DELETE FROM configs WHERE no = ?"
ADD_RUN = """
INSERT INTO runs (id, app, name, state, created, updated, live, epoch, seq, log, number)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, ?8, (SELECT made FROM apps WHERE no = ?2))
"""
SAVE_RUN = """
UPDATE runs SET name = ?, state = ?, updated = ?, first_step = ?, last_step = ?, epoch = ?, seq = ?, log = ?,
    dropped = ?, late = ?, attempt = ?, ended = ?
WHERE no = ?
"""
DESCRIBE_RUN = "UPDATE runs SET color = ?, archived = ?, tags = ?, note = ? WHERE no = ?"

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
GET_RESUMES = "SELECT resume_at, began FROM attempts WHERE run = ? AND resume_at IS NOT NULL ORDER BY began, no"
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
GET_KEYS_UNTIL = """
SELECT name, kind, columns, EXISTS (SELECT 1 FROM key_values WHERE key = keys.no AND step <= ?2) FROM keys WHERE log = ?1 AND (
    EXISTS (SELECT 1 FROM chunks WHERE key = keys.no AND first_step <= ?2)
    OR EXISTS (SELECT 1 FROM key_values WHERE key = keys.no AND step <= ?2)
    OR first_missing <= ?2
) ORDER BY no
"""
GET_KEY = "SELECT no, kind, columns, newest_step, rows FROM keys WHERE log = ? AND name = ?"
GET_KEY_BY_NO = "SELECT name, kind, columns FROM keys WHERE no = ?"
GET_KEY_NAMES = "SELECT runs.id, keys.name FROM keys LEFT JOIN runs ON runs.log = keys.log WHERE keys.no = ?"
ADD_KEY = "INSERT INTO keys (log, name, kind, columns) VALUES (?, ?, ?, ?)"
ADD_KEY_ROWS = """
UPDATE keys SET columns = ?2, rows = rows + ?3, pending = pending + ?5, open_bytes = open_bytes + ?4,
    due = max(due, pending + ?5 >= ?6, rows + ?3 - sealed >= ?7, open_bytes + ?4 >= ?8, sealed - summed >= ?9)
WHERE no = ?1
"""
SET_KEY_NEWEST = "UPDATE keys SET newest_step = ?, newest_seq = ?, newest_size = ? WHERE no = ?"
GET_KEYS_WITH_NEWS = """
SELECT newest_seq, newest_size, no, newest_step FROM keys
WHERE log = ?1 AND newest_seq > ?2 AND newest_seq <= ?3 AND name NOT IN (SELECT value FROM json_each(?4))
    AND (?5 IS NULL OR name IN (SELECT value FROM json_each(?5))) AND coalesce(?6, 'value') = 'value' ORDER BY newest_seq
"""
GET_KEYS_WITH_NEWS_UNTIL = """
SELECT key_values.seq, size, keys.no, step FROM keys JOIN key_values ON key_values.no = (
    SELECT no FROM key_values WHERE key = keys.no AND step <= ?7 ORDER BY step DESC LIMIT 1
) WHERE log = ?1 AND kind = 'value' AND key_values.seq > ?2 AND key_values.seq <= ?3
    AND name NOT IN (SELECT value FROM json_each(?4)) AND (?5 IS NULL OR name IN (SELECT value FROM json_each(?5)))
    AND coalesce(?6, 'value') = 'value' ORDER BY key_values.seq
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
# Which keys a tail has, as JSON arrays of names: not those of ?4, only those of ?5 unless it is NULL, and of the kind ?6.
_AND_CHOSEN = """
    AND key NOT IN (SELECT no FROM keys WHERE log = ?1 AND name IN (SELECT value FROM json_each(?4)))
    AND (?5 IS NULL OR key IN (SELECT no FROM keys WHERE log = ?1 AND name IN (SELECT value FROM json_each(?5))))
    AND coalesce(?6, 'rows') = 'rows'
"""
GET_CHUNK_SIZES = f"""
SELECT min(last_seq, ?3), size FROM chunks
WHERE log = ?1 AND last_seq > ?2 AND first_seq <= ?3 AND (?7 IS NULL OR first_step <= ?7) {_AND_CHOSEN}
ORDER BY last_seq, first_seq
"""
GET_CHUNKS = f"""
SELECT key, no FROM chunks
WHERE log = ?1 AND last_seq > ?2 AND first_seq <= ?3 AND (?7 IS NULL OR first_step <= ?7) {_AND_CHOSEN}
ORDER BY last_seq, key, first_row
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
GET_CHUNKS_UNTIL = """
SELECT no, first_row, count, last_step FROM chunks WHERE key = ? AND first_step <= ? ORDER BY first_row
"""
GET_CHUNK = """
SELECT log, key, first_row, first_seq, last_seq, first_step, last_step, count, packed, marks, checksum, body
FROM chunks WHERE no = ?
"""

COUNT_CUT = "UPDATE logs SET cuts = cuts + 1 WHERE no = ?"
ADD_CUT = "INSERT INTO cuts (log, step, stretches) VALUES (?, ?, ?)"
GET_LOG_OF_CUT = "SELECT log FROM cuts WHERE no = ?"
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
    rows = ?1, sealed = ?2, summed = ?3, due = 1, digested = 0
WHERE no = ?4
"""
DELETE_DIGESTS = "DELETE FROM digests WHERE key = ?"
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
GET_NTH_NEWEST_STEP = "SELECT step FROM key_values WHERE key = ? ORDER BY step DESC LIMIT 1 OFFSET ?"
GET_VALUES_BEFORE = "SELECT no, step FROM key_values WHERE key = ? AND step < ? ORDER BY step LIMIT ?"
SET_FIRST_MISSING = "UPDATE keys SET first_missing = ?1 WHERE no = ?2 AND (first_missing IS NULL OR first_missing > ?1)"
GET_VALUE = "SELECT seq, checksum, body FROM key_values WHERE key = ? AND step = ?"
GET_VALUE_SIZES = "SELECT step, size FROM key_values WHERE key = ? AND step BETWEEN ? AND ? ORDER BY step LIMIT ?"
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

GET_KEYS_UNDIGESTED = """
SELECT keys.no, log, digested, rows, cuts FROM keys JOIN logs ON logs.no = log
WHERE kind = 'rows' AND digested < rows AND dropped = 0 AND keys.no > ? ORDER BY keys.no LIMIT ?
"""
GET_CHUNKS_FROM = """
SELECT no, first_row, count FROM chunks
WHERE key = ?1 AND first_row >= (SELECT coalesce(max(first_row), 0) FROM chunks WHERE key = ?1 AND first_row <= ?2)
ORDER BY first_row
"""
GET_DIGESTS = """
SELECT "column", count, last, last_step, min, min_step, max, max_step FROM digests WHERE key = ?
"""
GET_CUTS_OF_LIVE = "SELECT cuts FROM logs WHERE no = ? AND dropped = 0"
SAVE_DIGEST = """
INSERT OR REPLACE INTO digests (key, "column", count, last, last_step, min, min_step, max, max_step)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
SET_DIGESTED = "UPDATE keys SET digested = ? WHERE no = ?"
GET_DIGESTS_OF_LOGS = """
SELECT log, count, last, last_step, min, min_step, max, max_step
FROM json_each(?3) JOIN keys ON keys.log = json_each.value AND keys.name = ?1
JOIN digests ON digests.key = keys.no AND digests."column" = ?2
"""

HIDE_RUN = "UPDATE runs SET deleted = 1, restorable_until = ? WHERE no = ?"
GET_RESTORABLE = "SELECT no FROM runs WHERE no = ? AND restorable_until > ?"
SHOW_RUN = "UPDATE runs SET deleted = 0, restorable_until = NULL WHERE no = ?"
GET_RUN_TO_BURY = "SELECT id FROM runs WHERE restorable_until <= ? ORDER BY restorable_until LIMIT 1"
BURY_RUN = """
UPDATE runs SET name = NULL, live = NULL, tags = '[]', note = '', color = NULL, restorable_until = NULL, seq = seq + 1
WHERE no = ?
"""
