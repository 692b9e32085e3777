"""Model classes with code of their own for the browser, in page scripts: compiled once a version, and each page has its own."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import playwright
import pytest

from streamvis import Client

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# Bokeh's compiler runs on node; the one that the browser tests bring along will do.
NODE = Path(playwright.__file__).parent / "driver" / "node"

SCRIPT = """
from bokeh.core.properties import String
from bokeh.models import Div
app = "custom"

class Placard(Div):
    __implementation__ = "placard.{suffix}"
    extra = String("")

def init_page(doc, config):
    doc.add_root(Placard(text="", extra="{name}", name="placard"))
"""
IN_TYPESCRIPT = """
import {Div, DivView} from "models/widgets/div"
import type * as p from "core/properties"
export class PlacardView extends DivView {
  declare model: Placard
  override render(): void { super.render(); document.body.dataset.said = "right says " + this.model.extra }
}
export namespace Placard {
  export type Attrs = p.AttrsOf<Props>
  export type Props = Div.Props & {extra: p.Property<string>}
}
export interface Placard extends Placard.Attrs {}
export class Placard extends Div {
  declare properties: Placard.Props
  declare __view_type__: PlacardView
  static {
    this.prototype.default_view = PlacardView
    this.define<Placard.Props>(({Str}) => ({extra: [Str, ""]}))
  }
}
"""
IN_JAVASCRIPT = """
import {Div, DivView} from "models/widgets/div"
import {said} from "./words"
export class PlacardView extends DivView {
  render() { super.render(); document.body.dataset.said = said + this.model.extra }
}
export class Placard extends Div {
  static __name__ = "Placard"
  static {
    this.prototype.default_view = PlacardView
    this.define(({Str}) => ({extra: [Str, ""]}))
  }
}
"""
# Stands before node, and counts how often it compiles.
COUNTING = '#!/bin/sh\ncase "$1" in --version) ;; *) echo >> "{log}" ;; esac\nexec "{node}" "$@"\n'


def write(folder: Path, suffix: str, code: str) -> None:
    folder.mkdir()
    (folder / f"{folder.name}.py").write_text(SCRIPT.format(name=folder.name, suffix=suffix))
    (folder / f"placard.{suffix}").write_text(code)


def test_each_page_has_its_own_and_compiles_them_once_for_each_version(tmp_path, start_endpoint, start_pages, open_page):
    compiled = tmp_path / "compiled"
    node = tmp_path / "node"
    node.write_text(COUNTING.format(log=compiled, node=NODE))
    node.chmod(0o755)
    write(tmp_path / "left", "js", IN_JAVASCRIPT)
    (tmp_path / "left" / "words.js").write_text("export const said = 'left says '\n")
    write(tmp_path / "right", "ts", IN_TYPESCRIPT)
    plain = tmp_path / "plain.py"
    plain.write_text("app = 'custom'\ndef init_page(doc, config): pass\n")
    rest = start_endpoint()
    scripts = [tmp_path / "left" / "left.py", tmp_path / "right" / "right.py", plain]
    pages = start_pages(*scripts, url=rest.url, env={"BOKEH_NODEJS_PATH": str(node)})

    def asked(name: str) -> bytes:
        """The page itself, which takes as long as it is compiled."""
        with urllib.request.urlopen(f"{pages.url}/{name}", timeout=120) as answer:
            return answer.read()

    tab = open_page("about:blank")

    def shown(name: str) -> str:
        asked(name)
        tab.page.goto(f"{pages.url}/{name}")
        tab.page.wait_for_function("document.body.dataset.said", timeout=60_000)
        return tab.evaluate("document.body.dataset.said")

    with Client(rest.url, "custom") as client:
        client.init()
        assert client.flush(timeout_s=30)
        for name in ("left", "right", "left"):
            assert shown(name) == f"{name} says {name}"
        # The class of each page, and the file that one of them imports.
        assert len(compiled.read_text()) == 3
        (tmp_path / "left" / "words.js").write_text("export const said = 'now it says '\n")
        assert shown("left") == "now it says left"
        assert len(compiled.read_text()) == 4
        (tmp_path / "left" / "placard.js").write_text(IN_JAVASCRIPT + "\nconst wrong = \n")
        asked("left")
        tab.page.goto(f"{pages.url}/left")
        told = "document.querySelector('#streamvis-notices')?.shadowRoot.textContent.includes('Expression expected')"
        tab.page.wait_for_function(told, timeout=60_000)
        assert shown("right") == "right says right"
        assert b"register_models" not in asked("plain") and b"register_models" in asked("right")
        assert len(compiled.read_text()) == 5 and pages.running
