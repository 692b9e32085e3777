"""The programs for stored data: `streamvis backup`, `restore`, `check`, `copy`, `migrate` and `sync`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streamvis.addresses.database import DatabaseAddress
from streamvis.commands import cli_options
from streamvis.counting import agreeing, counted
from streamvis.errors import UsageError
from streamvis.log_lines import one_line

if TYPE_CHECKING:
    from streamvis.store import Damage

__all__ = ["backup", "check", "copy", "migrate", "restore", "sync"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@cli_options.data
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def backup(file: Path, data: Path | None, force: bool) -> None:
    """Copy all runs to FILE, as a consistent snapshot. The endpoint may be running."""
    from streamvis.store import backup as make

    with _progress("Copying") as progress:
        make(cli_options.data_folder(data), file, overwrite=force, progress=progress)
    click.echo(f"All runs are in {file} ({file.stat().st_size:,} bytes).")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@cli_options.data
@click.confirmation_option(prompt="All runs in the data folder are replaced by those of the backup. Continue?")
def restore(file: Path, data: Path | None) -> None:
    """Replace all runs by those of the backup FILE. The endpoint may be running.

    Data that was stored after the backup is lost. Open pages reload.
    """
    from streamvis.store import restore as put_back

    with _progress("Restoring") as progress:
        was_in_use = put_back(file, cli_options.data_folder(data), progress=progress)
    click.echo("The backup was restored." + (" The running endpoint uses it now." if was_in_use else ""))


@click.command()
@click.argument("what", metavar="FOLDER|postgresql://...|PAGE.py", type=cli_options.DATA)
@click.option("--repair", "is_repair", is_flag=True, help="Write all readable data to a new store, and keep the damaged one.")
@click.option("--run", metavar="ID", help="Run to check a page with. [default: the newest of its app]")
@cli_options.url
@cli_options.app
@click.option("--token", envvar="STREAMVIS_TOKEN", show_envvar=True, help="Token of the endpoint.")
def check(what: Path | DatabaseAddress, is_repair: bool, run: str | None, url: str, app: str | None, token: str | None) -> None:
    """Check a data folder or a database for damage, or a page script with a run of an endpoint.

    FOLDER, or a database: read all data in it, and list all damage. The endpoint may be running, except with --repair, which is
    for folders.

    PAGE.py, or a page folder: open the page without a browser, once with all data of the run in one update, and once with the
    data in many updates, as it arrives live. Prints exceptions in its code, differences between the two, and keys that do not
    exist.

    Exits with status 1 if something is wrong.
    """
    if isinstance(what, Path) and not what.exists():
        raise UsageError(f"{what} does not exist. Give a data folder, a database or a page script.")
    if isinstance(what, Path) and (what.is_file() or (what / "main.py").is_file()):
        _check_page(what, run, url, app, token)
    elif is_repair:
        if not isinstance(what, Path):
            raise UsageError("A database is repaired from its own backups. --repair is for a data folder.")
        _check_store(what, to_repair=what)
    else:
        _check_store(what)


def _check_page(path: Path, run: str | None, url: str, app: str | None, token: str | None) -> None:
    from streamvis.page.feeds.reader import EndpointReader
    from streamvis.page.scripts.script import read_script
    from streamvis.testing import check_page
    from streamvis.transport import checked_url

    script, reader = read_script(path), EndpointReader(checked_url(url), token=token)
    shown = script.app or app or script.name
    run = run or reader.app_tail(shown, after=None, wait_s=0).newest
    if run is None:
        raise UsageError(f"The app {shown!r} has no run at {url} yet. Start its producer, or name a run with --run.")
    reader.run(run)  # a wrong id is not the author's mistake
    try:
        checked = check_page(script, reader, run)
    except Exception as error:  # noqa: BLE001  # around an author's code
        from streamvis.page.author.error_text import Mistake

        told = Mistake(error)
        click.echo("\n\n".join(filter(None, (told.headline, told.around, told.text))))
        sys.exit(1)
    keys = ", ".join(map(repr, checked.reads)) or "none"
    told = f"Opened {path} with the run {run} in {checked.opened_s:.2f} s: {checked.models:,} models."
    click.echo(f"{told} It reads the keys: {keys}.")
    for fault in checked.faults:
        click.echo(f"Wrong: {fault}")
    if checked.faults:
        sys.exit(1)
    click.echo("Nothing is wrong.")


def _check_store(place: Path | DatabaseAddress, *, to_repair: Path | None = None) -> None:
    from streamvis.store import check_place, repair

    with _progress("Reading") as progress:
        repaired = repair(to_repair, progress=progress) if to_repair is not None else None
        checked = repaired.checked if repaired else check_place(place, progress=progress)
    for one in checked.damages:
        click.echo(f"Damaged: {_told(one)}")
    click.echo(
        f"Read {counted(checked.runs, 'run')} with {counted(checked.keys, 'key')}: {counted(checked.bodies, 'piece')} of "
        f"{counted(checked.size_bytes, 'byte')}, "
        f"{checked.unchecked:,} of them without a checksum, since they are older. "
        + ("There is damage." if checked.damages else "Nothing is damaged.")
    )
    if repaired and repaired.kept:
        for one in repaired.lost:
            click.echo(f"Lost: {_told(one)}")
        click.echo(f"All other data was saved, and is in use again. The damaged store is kept: {repaired.kept}")
    elif checked.damages:
        told = f"Stop the endpoint, then run `streamvis check --repair {place}` to save all readable data."
        click.echo(told if isinstance(place, Path) else "Restore what is damaged from a backup of the database.")
        sys.exit(1)


@click.command()
@click.argument("source", metavar="FROM", type=cli_options.DATA)
@click.argument("target", metavar="TO", type=cli_options.DATA)
def copy(source: Path | DatabaseAddress, target: Path | DatabaseAddress) -> None:
    """Copy all runs FROM a data folder or a database TO another: postgresql://USER@HOST/DATABASE?schema=NAME.

    FROM may be in use meanwhile; TO must be empty, or an earlier copy that no endpoint has used. Called again, it continues where
    it ended and copies what has changed: to move, copy, end the endpoint, copy again, and start an endpoint on TO. Everything
    that is copied is counted and compared. Runs that TO cannot hold are named at the end, and the exit status is 1.
    """
    from streamvis.store import copy_places

    with _progress("Copying") as progress:
        copied = copy_places(source, target, progress=progress)
    same = f"{copied.same:,} {agreeing(copied.same, 'was', 'were')} the same already"
    click.echo(f"Copied {counted(copied.runs, 'run')} with {counted(copied.bodies, 'piece')}; {same}.")
    for one in copied.left_out:
        click.echo(f"Not copied: the run {one.run!r} of the app {one.app[:80]!r}. {one.reason}")
    if copied.left_out:
        click.echo(f"The other store cannot hold {len(copied.left_out):,} of the runs.")
        sys.exit(1)


@click.command()
@cli_options.store
@cli_options.schema
def migrate(data: Path | DatabaseAddress | None, schema: str | None) -> None:
    """Make the tables of a store, or bring those of an older version up to date, as an endpoint does when it starts.

    For a database where the endpoint's role may not change tables: run this as their owner.
    """
    from streamvis.store import migrate_place

    place = cli_options.store_at(data, schema)
    migrate_place(place)
    click.echo(f"The store in {place} has the tables of this version.")


def _told(damage: Damage) -> str:
    of = f"key {damage.key!r} of run {damage.run!r}: " if damage.key else f"run {damage.run!r}: " if damage.run else ""
    return f"{of}{damage.problem}"


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, told how much is done, and of how much."""
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def progress(done: int, all_: int) -> None:
            bar.length = max(1, all_)
            bar.update(done - bar.pos)

        yield progress


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--url", help="Address of the endpoint. [default: the endpoint of each spool]")
@click.option("--token", envvar="STREAMVIS_TOKEN", show_envvar=True, help="Token of the endpoint.")
@click.option("--other-hosts", is_flag=True, help="Also deliver spools of other machines. Their producers must have ended.")
@click.option("--refused", is_flag=True, help="Only retry batches that an endpoint refused.")
def sync(folder: Path, url: str | None, token: str | None, other_hosts: bool, refused: bool) -> None:
    """Deliver undelivered data from a FOLDER of spools, for example after a producer was killed, or from a machine without a
    network.

    Spools of running producers are skipped. Exits with status 1 if other data could not be delivered.
    """
    from streamvis.client.spool.syncing import Sync
    from streamvis.transport import checked_url

    order = Sync(folder, url=checked_url(url) if url else None, token=token, other_hosts=other_hosts)
    if refused:
        synced = order.run_refused()
    else:
        with click.progressbar(length=max(1, order.bytes), label="Delivering", file=sys.stderr) as bar:
            synced = order.run(bar.update)
    for run in sorted(synced.runs):
        click.echo(one_line(f"Delivered to the run {run}; its page is at ?run={run}"))
    left = counted(synced.left_bytes, "byte")
    click.echo(f"{counted(synced.records, 'record')} delivered, {synced.refused:,} refused, {left} left.")
    for trouble in dict.fromkeys(synced.troubles):
        click.echo(one_line(trouble), err=True)
    for path in synced.running:
        click.echo(one_line(f"Left alone: {path}. Its producer is running."), err=True)
    for path, host in synced.foreign.items():
        whose = f"It was written on {host}, and whether its producer still runs there" if host else "Whose it is"
        click.echo(one_line(f"Left alone: {path}. {whose} is not known here; --other-hosts delivers it."), err=True)
    if not synced.is_complete:
        sys.exit(1)
