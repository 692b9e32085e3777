"""The pages of the docs' site that are not files of docs/: texts at the top of the repository, and sources that are linked to.

A hook of MkDocs. Links in the texts are those of the repository, so that they work there; here they become links of the site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TEXTS = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
}
# A fenced block, which is left as it is; or a link or picture, with its target and anchor.
LINK = re.compile(
    r"^```.*?^```|(?P<before>!?\[[^\]]*\]\()(?!\w+:|#)(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)", re.DOTALL | re.MULTILINE
)
# What the tests of the docs do with a block; nothing for readers.
NOTE = re.compile(r"^<!-- .*? -->\n", re.MULTILINE)
LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml", ".js": "javascript"}


def place_of(path: Path) -> str:
    """Where a file or folder of the repository is in the site."""
    name = path.relative_to(ROOT).as_posix()
    if name in TEXTS:
        return TEXTS[name]
    if path.is_relative_to(DOCS) and path.suffix in (".md", ".png", ".svg"):
        return path.relative_to(DOCS).as_posix()
    return f"source/{name}.md"


def targets_of(source: Path) -> Iterator[Path]:
    """The files and folders that a text links to."""
    for match in LINK.finditer(source.read_text(encoding="utf-8")):
        if match["target"]:
            yield (source.parent / match["target"]).resolve()


def text_of(source: Path) -> str:
    """A text of the repository, with links of the site."""
    here = posixpath.dirname(place_of(source)) or "."

    def to_site(match: re.Match[str]) -> str:
        if not match["target"]:
            return match[0]
        target = place_of((source.parent / match["target"]).resolve())
        return f"{match['before']}{posixpath.relpath(target, here)}{match['anchor'] or ''})"

    return LINK.sub(to_site, NOTE.sub("", source.read_text(encoding="utf-8")))


def code_of(path: Path) -> str:
    """A page with the source of a file, or of the files in a folder."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in LANGUAGES)
    parts = [f"# {path.relative_to(ROOT).as_posix()}"]
    for file in files:
        heading = [] if file == path else [f"## {file.relative_to(path).as_posix()}"]
        parts += [*heading, f"````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text(encoding='utf-8').rstrip()}\n````"]
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    sources = [*(ROOT / name for name in TEXTS), *DOCS.rglob("*.md")]
    for name, place in TEXTS.items():
        files.append(File.generated(config, place, content=text_of(ROOT / name)))
    linked = {target for source in sources for target in targets_of(source)}
    for target in sorted(path for path in linked if place_of(path).startswith("source/")):
        files.append(File.generated(config, place_of(target), content=code_of(target)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    source = page.file.abs_src_path
    return text_of(Path(source)) if source and Path(source).is_relative_to(DOCS) and not page.file.generated_by else markdown
