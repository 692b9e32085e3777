"""What people say of runs: names, tags, notes, colours, and which are archived. Inside a transaction that somebody else ends."""

from __future__ import annotations

import json

from streamvis.errors import InvalidData
from streamvis.records import Description
from streamvis.store import statements as sql
from streamvis.store.database import Database
from streamvis.store.runs.rows import RunRow
from streamvis.wire.limits import MAX_TAGS

__all__ = ["describe_run", "set_newest"]


def describe_run(db: Database, run: RunRow, description: Description) -> None:
    """Change what the description says. The run's name is still to be saved. Raises InvalidData for too many tags."""
    if description.name is not None:
        run.name = description.name or None
    if description.color is not None:
        run.color = description.color or None
    if description.note is not None:
        run.note = description.note
    was_archived = run.archived
    if description.archived is not None:
        run.archived = int(description.archived)
    run.tags = json.dumps(_tags(json.loads(run.tags), description), ensure_ascii=False)
    db.execute(sql.DESCRIBE_RUN, (run.color, run.archived, run.tags, run.note, run.no))
    if run.archived != was_archived:
        set_newest(db, run.app_no)


def set_newest(db: Database, app: int) -> None:
    """Find the app's newest run again: of those that are not archived, if there are such."""
    for statement in (sql.NEXT_NEWEST_SHOWN, sql.NEXT_NEWEST):
        found = db.execute(statement, (app,)).fetchone()
        if found is not None:
            break
    db.execute(sql.SET_NEWEST, (found and found[0], app))


def _tags(known: list[str], description: Description) -> list[str]:
    tags = known if description.tags is None else description.tags
    tags = list(dict.fromkeys([*tags, *description.add_tags]))
    tags = [tag for tag in tags if tag not in description.remove_tags]
    if len(tags) > MAX_TAGS:
        raise InvalidData(f"{len(tags):,} tags", where="tags", allowed=f"at most {MAX_TAGS}")
    return tags
