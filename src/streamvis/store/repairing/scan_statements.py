"""The SQL that reads through a whole store, by name: for checking and repairing it, and once a minute for what is kept."""

COUNT_RUNS = "SELECT count(*) FROM runs WHERE deleted = 0"
GET_ALL_KEYS = """
SELECT keys.no, runs.id, keys.name, keys.kind FROM runs JOIN keys ON keys.log = runs.log WHERE deleted = 0
ORDER BY runs.no, keys.no
"""
GET_CHUNKS_TO_CHECK = "SELECT no, first_step, last_step, count, size, first_row FROM chunks WHERE key = ? ORDER BY first_row"
GET_SUMMARIES_OF_KEY = "SELECT level, first_row FROM summaries WHERE key = ? ORDER BY level, first_row"
GET_STEPS_OF_VALUES = "SELECT step FROM key_values WHERE key = ? ORDER BY step"
COUNT_WITHOUT_CHECKSUM = """
SELECT (SELECT count(*) FROM chunks WHERE checksum IS NULL) + (SELECT count(*) FROM key_values WHERE checksum IS NULL)
     + (SELECT count(*) FROM summaries WHERE checksum IS NULL)
"""

ADD_KEY_AT = "INSERT INTO keys (no, log, name, kind, columns) VALUES (?, ?, ?, ?, ?)"
KEEP_LOG = "INSERT INTO logs (no) VALUES (?) ON CONFLICT (no) DO UPDATE SET dropped = 0"
SET_SEQ_OF_LOG = "UPDATE runs SET seq = (SELECT coalesce(max(last_seq), 0) FROM chunks WHERE log = ?) WHERE log = ?"
GET_RUNS_WITHOUT_CONFIG = "SELECT no, id FROM runs WHERE deleted = 0 AND no NOT IN (SELECT no FROM configs)"
SET_CONFIG = "INSERT OR REPLACE INTO configs (no, config) VALUES (?, ?)"
DROP_WHAT_NO_RUN_HAS = (
    "DELETE FROM logs WHERE no NOT IN (SELECT log FROM runs)",
    "DELETE FROM stretches WHERE log NOT IN (SELECT log FROM runs)",
    "DELETE FROM configs WHERE no NOT IN (SELECT no FROM runs)",
    "DELETE FROM cuts WHERE log NOT IN (SELECT log FROM runs)",
    "DELETE FROM keys WHERE log NOT IN (SELECT log FROM runs)",
)

# Once a minute, and through an index: PostgreSQL always has it, SQLite where an operator limits what is kept (see `retention`).
INDEX_VALUES_BY_TIME = "CREATE INDEX IF NOT EXISTS key_values_by_time ON key_values (time, key, step, size)"
GET_OLDEST_VALUES = """
SELECT no, key, step, size, seq, (SELECT log FROM keys WHERE keys.no = key_values.key) FROM key_values WHERE time < ?1
    AND step < (SELECT newest_step FROM keys WHERE keys.no = key_values.key) ORDER BY time, step LIMIT ?2
"""
GET_VALUE_AS_CHOSEN = """
SELECT 1 FROM key_values JOIN keys ON keys.no = key WHERE key_values.no = ? AND key = ? AND seq = ? AND step < newest_step
"""
GET_VALUES_SIZE = "SELECT coalesce(sum(size), 0) FROM key_values"
