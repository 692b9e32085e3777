"""Pages in a real Chromium, and what their Bokeh documents hold there: what a person would see, not what a server sent."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Frame, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from support.conditions import wait_until

CHROMIUM_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",  # as root, and in containers, Chromium starts in no other way
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--force-prefers-reduced-motion",  # what turns while a page waits is drawn 60 times a second
    # Parsed when it is needed, a script that the renderer has compiled before is not parsed again.
    "--js-flags=--no-script-streaming",
    "--process-per-site",  # the tabs of a context share a renderer, which has compiled BokehJS
)
LOOPBACK = {"127.0.0.1", "localhost", "::1"}

# As text that Python's `json` reads, NaN and infinities too: one string passes to Python far sooner than thousands of numbers.
# Bokeh keeps plain arrays, typed ones, n-dimensional ones (which carry a shape), and lists of all of these.
_READ_SOURCE = """
name => {
  const listed = texts => "[" + texts.join(",") + "]"
  const entry = ([key, item]) => JSON.stringify(String(key)) + ":" + text(item)
  const text = value => {
    if (typeof value === "number") return String(value)
    if (ArrayBuffer.isView(value)) {
      const shape = value.shape ?? [value.length]
      return listed(shape.slice(1).reduceRight((items, size) => {
        const rows = []
        for (let i = 0; i < items.length; i += size) rows.push(listed(items.slice(i, i + size)))
        return rows
      }, Array.from(value, String)))
    }
    if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null"
    if (value instanceof Map) return "{" + Array.from(value, entry).join(",") + "}"
    if (Symbol.iterator in value) return listed(Array.from(value, text))
    return "{" + Object.entries(value).map(entry).join(",") + "}"
  }
  for (const doc of window.Bokeh?.documents ?? []) {
    const source = doc?.get_model_by_name(name)
    if (source != null) return text(source.data)
  }
  return null
}
"""


class Tab:
    """One browser tab. `page` is Playwright's own page, for everything that is not here."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []  # what the page wrote to the console as an error, and what it threw
        self.requests_elsewhere: list[str] = []  # what it asked of any host but this machine
        self.origins: set[str] = set()  # of the documents that it showed
        self._errors_are_expected = False
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(f"thrown: {error}"))
        page.on("request", lambda request: self._on_request(request.url))
        page.on("framenavigated", lambda frame: self._on_shown(frame.url))
        page.on("websocket", lambda socket: self._on_request(socket.url))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            at = message.location.get("url", "")
            if not urlsplit(at).path.endswith("/favicon.ico"):
                self.errors.append(f"console: {message.text} ({at})")

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in LOOPBACK:
            self.requests_elsewhere.append(url)

    def _on_shown(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https"):
            self.origins.add(f"{parts.scheme}://{parts.netloc}")

    def expect_errors(self) -> None:
        """For a test in which the page reports errors on purpose: teardown does not ask for a silent console."""
        self._errors_are_expected = True

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """What the script gives in the page. A page that is just loading again is an AssertionError: not yet."""
        return self._now(lambda: self.page.evaluate(script, argument))

    def in_page(self, script: str, argument: Any = None) -> Any:
        """What the script gives in the page that the shell shows. None yet, or one that is swapped, is an AssertionError."""
        frame = self.frame
        assert frame is not None, "the shell shows no page yet"
        return self._now(lambda: frame.evaluate(script, argument))

    def _now(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except PlaywrightError as error:
            is_going = any(sign in str(error) for sign in ("navigation", "context was destroyed", "was detached"))
            assert not is_going, "the page is loading again"
            raise

    @property
    def frame(self) -> Frame | None:
        """The frame with the page that the shell shows; None where there is no shell, or no page yet."""
        shown = self._now(lambda: self.page.query_selector("#shell iframe:not(.coming)"))
        return self._now(shown.content_frame) if shown else None

    def source(self, name: str) -> dict[str, list[Any]]:
        """The columns that the browser's own ColumnDataSource `name` holds now, as lists; NaN stays NaN, null is None."""
        columns = self.evaluate(_READ_SOURCE, name)
        if columns is None and self.frame is not None:
            columns = self.in_page(_READ_SOURCE, name)
        assert columns is not None, f"no Bokeh document in the browser has a source named {name!r}"
        return json.loads(columns)

    def wait_for_source(
        self, name: str, predicate: Callable[[dict[str, list[Any]]], Any] = bool, within_s: float = 40
    ) -> dict[str, list[Any]]:
        """Wait until the source `name` is there and `predicate` holds for its columns, and return these."""
        __tracebackhide__ = True

        def columns_that_fit() -> dict[str, list[Any]]:
            columns = self.source(name)
            assert predicate(columns), f"its columns were {_told(columns)}"
            return columns

        try:
            return wait_until(
                columns_that_fit, within_s=within_s, what=f"source {name!r} in the browser to fit", pause=self._pause_s
            )
        except AssertionError as late:
            told = "\n".join(self.errors) or "(no error)"
            raise AssertionError(f"{late}\n--- the browser's console ---\n{told}\n---") from None

    def _pause_s(self, seconds: float) -> None:
        self.page.wait_for_timeout(seconds * 1000)  # unlike a wait of this thread, lets Playwright hand out its events

    def screenshot(self, path: Path) -> Path:
        """Write a PNG of the whole page to `path`, and return it."""
        self.page.screenshot(path=path, full_page=True)
        return path

    def check(self) -> None:
        """Fail when the page reported errors that no test expected, or asked for something from another machine."""
        assert self._errors_are_expected or not self.errors, "the page reported errors:\n" + "\n".join(self.errors)
        assert not self.requests_elsewhere, "the page asked other machines for:\n" + "\n".join(self.requests_elsewhere)


def _told(columns: dict[str, list[Any]]) -> str:
    return ", ".join(
        f"{name}: {len(values)} rows {values if len(values) <= 10 else f'...{values[-5:]}'}" for name, values in columns.items()
    )


def chromium_path() -> str:
    """The system's Chromium; a missing one is an error, since a suite that skips the browser tests says too little."""
    for name in CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    raise RuntimeError(
        f"The browser tests need one of {', '.join(CHROMIUM_NAMES)} on the PATH, and there is none. "
        "On Debian: sudo apt-get install chromium (`make test` does it where it may)."
    )


class _Chromium:
    """One browser for all tests of this process, and the event loop that Playwright drives it with.

    A browser context is lent to one test at a time. It comes back empty, but its renderer lives on, so that the next tab does not
    compile BokehJS again.
    """

    def __init__(self, browser: Browser, loop: asyncio.AbstractEventLoop) -> None:
        self.browser = browser
        self.loop = loop
        self._free: list[tuple[BrowserContext, Page]] = []

    def borrow(self) -> tuple[BrowserContext, Page]:
        """A context, and the page in it that stays: an empty one of this machine's site, for which there is one renderer."""
        if self._free:
            return self._free.pop(0)
        context = self.browser.new_context()
        page = context.new_page()
        page.route("http://127.0.0.1/", lambda route: route.fulfill(body=""))
        page.goto("http://127.0.0.1/")
        return context, page

    def give_back(self, context: BrowserContext, stays: Page, origins: set[str]) -> None:
        """Remove what the tabs of a test left in the context: the pages, cookies, and what they stored."""
        for page in context.pages:
            if page != stays:
                page.close()
        context.clear_cookies()
        asked = context.new_cdp_session(stays)
        for origin in origins:
            asked.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        asked.detach()
        self._free.insert(0, (context, stays))


@pytest.fixture(scope="session")
def chromium() -> Iterator[_Chromium]:
    """The browser. Playwright's sync API leaves its event loop marked as this thread's running one, where no later test
    could call `asyncio.run`: the mark is taken off while no tab is open, and put back for tabs (see `open_page`)."""
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGUMENTS))
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield _Chromium(browser, loop)
        asyncio._set_running_loop(loop)
        browser.close()
    asyncio._set_running_loop(None)


HAS_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note that a test failed, for what ends after it."""
    report = yield
    item.stash[HAS_FAILED] = item.stash.get(HAS_FAILED, False) or report.failed
    return report


@pytest.fixture
def open_page(chromium: _Chromium, request: pytest.FixtureRequest) -> Iterator[Callable[..., Tab]]:
    """`open_page(url, viewport=None, color_scheme=None, is_new=False, **context_options)` opens a tab in a browser context of
    its own, and returns it as a `Tab`.

    A context that is new, as one with options always is, is nobody else's before or after: what changes it for good, such as a
    clock, needs one.

    At the end, a tab whose console holds an error fails the test, unless it called `expect_errors()`.
    """
    borrowed: list[tuple[BrowserContext, Page]] = []
    contexts: list[BrowserContext] = []
    tabs: list[Tab] = []

    def open_tab(url: str, *, viewport=None, color_scheme=None, is_new=False, **context_options) -> Tab:
        if is_new or context_options:
            contexts.append(context := chromium.browser.new_context(**context_options))
        else:
            borrowed.append(chromium.borrow())
            context, _ = borrowed[-1]
        context.set_default_timeout(40_000)
        tabs.append(Tab(context.new_page()))
        if viewport:
            tabs[-1].page.set_viewport_size(viewport)
        if color_scheme:
            tabs[-1].page.emulate_media(color_scheme=color_scheme)
        tabs[-1].page.goto(url)
        return tabs[-1]

    asyncio._set_running_loop(chromium.loop)
    try:
        yield open_tab
        for tab in tabs:
            if not tab.page.is_closed():
                tab.page.evaluate("0")  # a round trip: console messages that came before it have now been handed out
    finally:
        try:
            has_failed = request.node.stash.get(HAS_FAILED, False)
            origins = {origin for tab in tabs for origin in tab.origins}
            for context, stays in reversed(borrowed):
                if has_failed:
                    context.close()  # who knows what its renderer is doing
                else:
                    chromium.give_back(context, stays, origins)
            for context in contexts:
                context.close()
        finally:
            asyncio._set_running_loop(None)
    for tab in tabs:
        tab.check()
