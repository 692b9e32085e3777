"""A page in the form of Bokeh's application folders: what lies beside its `main.py`.

`templates/index.html` is the template of the document, `theme.yaml` its theme, and `static/` is served below the page's address.
`app_hooks.py` or `server_lifecycle.py` has the hooks. Template and theme are read again for each session.
"""

from __future__ import annotations

from pathlib import Path

from bokeh.core.templates import FILE
from bokeh.document import Document
from bokeh.embed.bundle import Bundle
from bokeh.embed.elements import html_page_for_render_items
from bokeh.embed.util import RenderItem
from bokeh.themes import Theme
from jinja2 import Environment, FileSystemLoader

from streamvis.errors import PageScriptError
from streamvis.page.documents.look import has_house_template

__all__ = ["Folder", "try_template"]

_HOOKS = ("app_hooks", "server_lifecycle")


class Folder:
    """The folder at `path`. Raises PageScriptError when it has hooks in two places."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = [name for name in _HOOKS if (path / f"{name}.py").exists()]
        if len(found) > 1:
            raise PageScriptError(f"The folder {path} has both {' and '.join(f'{name}.py' for name in found)}. Keep one of them.")
        self.hooks = found[0] if found else None
        self.static = str(path / "static") if (path / "static").is_dir() else None

    def dress(self, doc: Document) -> None:
        """Give the document the folder's theme and template."""
        theme, template = self._path / "theme.yaml", self._path / "templates" / "index.html"
        if theme.exists():
            doc.theme = Theme(filename=str(theme))
        if template.exists():
            doc.template = Environment(loader=FileSystemLoader(template.parent)).get_template(template.name)


def try_template(doc: Document) -> None:
    """Render the document's own template once, as Bokeh will. One that fails there is taken off, for it would leave no page."""
    template, variables = doc.template, doc.template_variables
    if has_house_template(doc):
        return
    doc.template = FILE
    items = [RenderItem(token="token", roots=doc.roots, use_for_title=True)]
    html_page_for_render_items(Bundle(), {}, items, doc.title, template=template, template_variables=variables)
    doc.template = template
