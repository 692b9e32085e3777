"""The commands about runs in the terminal: list, show, rename, delete, tail, export, import.

They ask an endpoint, or read a data folder, as `streamvis.open` does. Tables are plain columns, and what others wrote
never reaches the terminal raw.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamvis.commands import cli_options
from streamvis.counting import counted
from streamvis.errors import StreamvisError, UsageError
from streamvis.log_lines import one_line

if TYPE_CHECKING:
    import pyarrow as pa

    from streamvis.reading import Reader, Run

__all__ = ["COMMANDS"]

_WIDEST = 40
_MOST_LISTED = 10_000

_token = click.option("--token", envvar="STREAMVIS_TOKEN", show_envvar=True, help="Token of the endpoint.")
_app = click.option("--app", help="Only runs of this app.")
_where = click.option("--where", metavar="FILTER", help="Only matching runs, for example 'config.lr < 0.1'.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_app
@_where
@click.option("--order", help="Name to sort by, for example config.lr; with - before it, in descending order.")
@click.option("--limit", type=click.IntRange(1, _MOST_LISTED), default=50, show_default=True, help="Maximum number of runs.")
@_as_json
@cli_options.url_or_folder
@_token
def runs(app: str | None, where: str | None, order: str | None, limit: int, as_json: bool, url: str, token: str | None) -> None:
    """List runs, by default the newest first."""
    with _open(url, token) as reader:
        found = reader.runs(app, where, order, limit)
        if as_json:
            click.echo(json.dumps([dict(run.about) for run in found], indent=1))
            return
        rows = [
            (run.id, run.app, run.name, run.state, _step(run), _moment(run.about["created"]), " ".join(run.tags)) for run in found
        ]
        _print_table(("ID", "APP", "NAME", "STATE", "STEP", "CREATED", "TAGS"), rows)


@click.command()
@click.argument("run")
@_as_json
@cli_options.url_or_folder
@_token
def show(run: str, as_json: bool, url: str, token: str | None) -> None:
    """Show the run RUN (an id or a name): its description, config, keys, and the last values of its columns."""
    from streamvis.wire.tree import to_plain

    with _open(url, token) as reader:
        its = reader.run(run)
        summary = its.summary
        if as_json:
            keys = {key: {"kind": info.kind, "columns": dict(info.columns)} for key, info in its.keys.items()}
            about = {name: value for name, value in its.about.items() if name not in ("keys", "config")}
            all_of_it = {**about, "config": to_plain(its.config), "keys": keys, "summary": to_plain(summary)}
            click.echo(json.dumps(all_of_it, indent=1))
            return
        about = {"id": its.id, "app": its.app, "name": its.name, "state": its.state, "created": _moment(its.about["created"])}
        about |= {"last step": _step(its), "tags": " ".join(its.tags), "note": its.about["note"]}
        _print_table((), [(name, text) for name, text in about.items() if text != ""], widest=10_000)
        if its.config:
            click.echo("\nconfig")
            _print_table((), [(f"  {name}", json.dumps(part)) for name, part in to_plain(its.config).items()], widest=80)
        rows = []
        for key, info in its.keys.items():
            for column, dtype in info.columns.items() or [("", "value")]:
                known = summary.get(key, {}).get(column, {})
                rows.append((key, column, dtype, *(_number(known.get(name)) for name in ("last", "min", "max"))))
        if rows:
            click.echo()
            _print_table(("KEY", "COLUMN", "TYPE", "LAST", "LOWEST", "HIGHEST"), rows)


@click.command()
@click.argument("run")
@click.argument("name")
@cli_options.url
@_token
def rename(run: str, name: str, url: str, token: str | None) -> None:
    """Rename the run RUN to NAME; an empty name restores the default."""
    with _open(url, token) as reader:
        its = reader.run(run)
        changed = reader.connection.change("PATCH", "runs", its.id, run=its.id, body={"name": name})
        click.echo(one_line(f"The run {its.id} is called {changed['name']} now."))


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@cli_options.url
@_token
def delete(runs: Sequence[str], yes: bool, url: str, token: str | None) -> None:
    """Delete runs, permanently: they can be restored for one minute, on a page or by REST."""
    with _open(url, token) as reader:
        chosen = {run.id: run for run in map(reader.run, runs)}
        _print_table((), [(run.id, run.app, run.name, run.state) for run in chosen.values()])
        if not yes:
            click.confirm(f"Delete {'this run' if len(chosen) == 1 else f'these {len(chosen)} runs'}?", abort=True)
        reader.connection.change("POST", "runs", "delete", body={"runs": list(chosen)})
        click.echo(f"Deleted {counted(len(chosen), 'run')}.")


@click.command()
@click.argument("run")
@click.argument("key")
@click.option("-f", "--follow", "follows", is_flag=True, help="Continue until the run ends.")
@click.option(
    "-n", "--rows", "count", type=click.IntRange(0), default=10, show_default=True, help="Number of last rows to print first."
)
@_as_json
@cli_options.url_or_folder
@_token
def tail(run: str, key: str, follows: bool, count: int, as_json: bool, url: str, token: str | None) -> None:
    """Print the last rows of the key KEY of the run RUN, with -f also new ones. For a key that holds values, print the newest."""
    from streamvis.wire.tree import to_plain

    with _open(url, token) as reader:
        its = reader.run(run)
        kind = its.keys[key].kind if key in its.keys else ""
        if kind == "value" and not follows:
            click.echo(json.dumps(to_plain(its.value(key))))
            return
        if not kind and not follows:
            its.rows(key)  # which raises, with the keys that are like it
        printer = _Rows(as_json)
        if not follows:
            printer.print(_last_rows(its, key, count))
            return
        past: pa.Table | None = None
        is_past = True
        for update in its.follow([key]):
            if update.restart:
                click.echo("Data of the run was removed (cleared or resumed): starting over.", err=True)
            if update.value is not None:
                click.echo(json.dumps({"step": update.value.step, "data": to_plain(update.value.data)}))
            elif update.rows is not None:
                rows = _joined(past, update.rows, count) if is_past else update.rows
                past = rows if is_past and update.more else None
                is_past = past is not None
                if not is_past:
                    printer.print(rows)


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN...]")
@_where
@_app
@click.option("--format", type=click.Choice(["parquet", "csv", "jsonl", "arrow"]), default="parquet", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write into.")
@cli_options.url_or_folder
@_token
def export(
    runs: Sequence[str], where: str | None, app: str | None, format: str, output: Path, url: str, token: str | None
) -> None:
    """Write runs into a folder, one folder for each: rows, values, config and description.

    Parquet and Arrow keep all data, and `streamvis import` can read them. CSV and JSON lines are for other programs.
    """
    from streamvis.reading.export import export_run

    if bool(runs) == bool(where or app):
        raise UsageError("Name runs, or choose them with --where or --app, not both.")
    with _open(url, token) as reader:
        chosen = [reader.run(run) for run in runs] if runs else list(reader.runs(app, where))
        if not chosen:
            raise UsageError("No run matches. `streamvis runs` lists all runs.")
        _each(chosen, "Exporting", lambda run: f"{run.id}: {export_run(run, output, format=format)}")


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--new-id", is_flag=True, help="Store an exported run under a new id.")
@click.option("--app", help="App for runs from TensorBoard files and tables. [default: the folder's name]")
@click.option("--step", help="Column of a table with the step. [default: a column with such a name, else the row number]")
@click.option("--time", "time_column", help="Column of a table with the time. [default: a column with such a name]")
@click.option("--follow", "follows", is_flag=True, help="Continue to import event files while they are written, until Ctrl-C.")
@cli_options.url
@_token
def import_(
    source: Path,
    new_id: bool,
    app: str | None,
    step: str | None,
    time_column: str | None,
    follows: bool,
    url: str,
    token: str | None,
) -> None:
    """Import runs into an endpoint.

    Reads exported runs, event files of TensorBoard, folders of wandb, databases of Trackio and MLflow, and CSV, Parquet and JSON
    lines files.

    SOURCE is a file or a folder. Repeating an import changes nothing, or completes an interrupted one and adds new data of the
    files.
    """
    from streamvis.reading.importing import exports_in, import_run, is_export
    from streamvis.reading.other_programs import follow_events, import_source, sources_in

    with _open(url, token) as reader:
        if follows:
            follow_events(reader.connection, source, app=app, tell=lambda text: click.echo(one_line(text)))
            return
        if is_export(source):
            take = lambda one: import_run(reader.connection, one, new_id=new_id)  # noqa: E731
            found: Sequence[Any] = exports_in(source)
        else:
            take = lambda one: import_source(reader.connection, one)  # noqa: E731
            found = sources_in(source, app=app, step=step, time=time_column)

        def told(one: Any) -> str:
            run, is_stored = take(one)
            return f"{one}: {'stored' if is_stored else 'was there already'} as {run}"

        _each(found, "Importing", told)


COMMANDS = (runs, show, rename, delete, tail, export, import_)


@contextmanager
def _open(url: str, token: str | None) -> Iterator[Reader]:
    from streamvis.opening import open_reader

    with open_reader(url, token) as reader:
        yield reader


def _each(things: Sequence[Any], label: str, do: Callable[[Any], str]) -> None:
    """Do it for each, with a bar; one that fails is named and the others continue. Ends with status 1 then."""
    told, failed = [], []
    with click.progressbar(things, label=label, file=sys.stderr) as bar:
        for thing in bar:
            try:
                told.append(do(thing))
            except StreamvisError as error:
                failed.append(str(error))
    for text in told:
        click.echo(one_line(text))
    for text in failed:
        click.echo(one_line(text), err=True)
    if failed:
        sys.exit(1)


def _last_rows(run: Run, key: str, count: int) -> pa.Table | None:
    """The rows stored last: no more than a piece of the run is in memory."""
    import pyarrow as pa

    rows: pa.Table | None = None
    for batch in run.batches(key):
        rows = _joined(rows, pa.Table.from_batches([batch]), count)
    return rows


def _joined(rows: pa.Table | None, more: pa.Table, count: int) -> pa.Table:
    """The last rows of both; of the second alone where it has other columns."""
    import pyarrow as pa

    both = more if rows is None or rows.schema != more.schema else pa.concat_tables([rows, more])
    return both.slice(max(0, both.num_rows - count))


class _Rows:
    """Rows as lines, under a head that is printed again when the columns change."""

    def __init__(self, as_json: bool) -> None:
        self._as_json, self._head = as_json, None

    def print(self, table: pa.Table | None) -> None:
        if table is None or not table.num_rows:
            return
        from streamvis.wire.jsonform import rows_to_json

        rows = rows_to_json(table)
        names = ("step", "time", *rows["columns"])
        columns = [rows["steps"], rows["times"], *(column["data"] for column in rows["columns"].values())]
        if self._as_json:
            for cells in zip(*columns, strict=True):
                click.echo(json.dumps(dict(zip(names, cells, strict=True))))
            return
        columns[1] = [_moment(at) for at in columns[1]]
        made = [tuple(_number(cell) for cell in cells) for cells in zip(*columns, strict=True)]
        _print_table(names if names != self._head else (), made, least=[max(12, len(name)) for name in names])
        self._head = names


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, widest: int = _WIDEST, least: Sequence[int] = ()) -> None:
    lines = [[_short(one_line(str(cell)), widest) for cell in row] for row in ([head] if head else []) + list(rows)]
    if not lines:
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths = [max(pair) for pair in zip(widths, least, strict=True)] if least else widths
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _short(text: str, widest: int) -> str:
    return text if len(text) <= widest else f"{text[: widest - 3]}..."


def _number(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else cell if isinstance(cell, str) else json.dumps(cell)


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _step(run: Run) -> str:
    return "" if run.about["last_step"] is None else str(run.about["last_step"])
