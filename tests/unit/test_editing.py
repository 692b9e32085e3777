"""Which saved files concern a page, and that whoever follows their folders hears of them."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tornado.ioloop import IOLoop

from streamvis.page.scripts.file_watcher import Watch
from streamvis.page.scripts.files import folders_of, is_part_of
from support.conditions import wait_until


@pytest.mark.parametrize(
    ("path", "is_folder", "has_failed", "is_part"),
    [
        ("page.py", False, False, True),
        ("settings.py", False, False, True),
        ("lib/colors.py", False, False, True),
        ("producer.py", False, False, False),
        ("producer.py", False, True, True),  # a page that failed may have lacked it
        ("style.css", False, False, True),
        ("data.json", False, False, False),
        ("lib/style.css", False, False, False),
        ("templates/index.html", True, False, True),
        ("static/logo.png", True, False, True),
        ("theme.yaml", True, False, True),
        ("runs.csv", True, False, False),
        ("../elsewhere.html", True, False, False),
    ],
)
def test_a_page_is_made_of_its_script_its_modules_and_what_lies_beside_them(tmp_path, path, is_folder, has_failed, is_part):
    home = tmp_path / "home"
    modules = {str(home / "settings.py"), str(home / "lib" / "colors.py")}
    found = is_part_of((home / path).resolve(), home / "page.py", modules, is_folder=is_folder, has_failed=has_failed)
    assert found == is_part


def test_the_folders_of_a_page_are_those_of_what_it_read_and_not_all_that_lies_below(tmp_path):
    home = tmp_path / "page"
    for name in ("lib", "data", "templates", ".git", "__pycache__"):
        (home / name).mkdir(parents=True)
    script, modules = home / "page.py", {str(home / "lib" / "colors.py")}
    assert folders_of(script, modules, is_folder=False) == {str(home), str(home / "lib")}
    assert folders_of(script, set(), is_folder=True) == {str(home), *(str(home / one) for one in ("lib", "data", "templates"))}


def test_a_save_is_heard_of_also_where_an_editor_replaces_the_file_and_a_folder_came_later(tmp_path):
    (tmp_path / "later").mkdir()
    heard: set[str] = set()
    began, loop = threading.Event(), None

    def run():
        nonlocal loop
        loop = IOLoop(make_current=True)
        began.set()
        loop.start()

    thread = threading.Thread(target=run)
    thread.start()
    assert began.wait(10)
    watch = Watch(loop)
    try:
        loop.add_callback(watch.follow, "page", {str(tmp_path)}, heard.update)
        written = 0

        def is_heard(path):
            nonlocal written
            written += 1
            new = path.with_name(f".{path.name}.swp")
            new.write_text(f"# {written}")
            new.replace(path)
            return str(path) in heard

        # The watch begins some time after it was asked for.
        wait_until(lambda: is_heard(tmp_path / "page.py"), within_s=30, what="a save", every_s=0.2)
        assert not any(path.endswith(".swp") for path in heard)
        loop.add_callback(watch.follow, "page", {str(tmp_path), str(tmp_path / "later")}, heard.update)
        wait_until(lambda: is_heard(tmp_path / "later" / "module.py"), within_s=30, what="a save in the folder", every_s=0.2)
    finally:
        watch.end()
        loop.add_callback(loop.stop)
        thread.join(10)


def test_a_file_that_is_emptied_before_it_is_written_is_told_once_it_is_whole(tmp_path):
    page = tmp_path / "page.py"
    page.touch()
    told: list[str] = []

    async def save():
        watch, is_told = Watch(IOLoop.current()), asyncio.Event()

        def heard(paths):
            told.append(page.read_text())
            is_told.set()

        watch._followers["page"] = (frozenset({str(tmp_path)}), heard)
        watch._tell(frozenset({str(page)}))
        page.write_text("app = 'a'\n")  # after the look at the empty file
        await asyncio.wait_for(is_told.wait(), 20)

    asyncio.run(save())
    assert told == ["app = 'a'\n"]
