"""The one line that says where a run can be watched: its name, and the address of its page where the endpoint knows it.

It is said through the logger `streamvis.hints`, by the process that began the run: not by processes that `multiprocessing`
started, and of those that join a run by the first rank alone.
"""

from __future__ import annotations

import logging
import os
import sys

from streamvis.client.entries import Begin
from streamvis.client.launch import is_first_rank
from streamvis.client.notices import tell
from streamvis.log_lines import one_line
from streamvis.naming import readable_name

__all__ = ["tell_page"]

log = logging.getLogger("streamvis")


def tell_page(begin: Begin, page: str) -> None:
    """Say where the run is; where its page is not known, the name alone goes to the log, at the level INFO."""
    if begin.joins and not is_first_rank(os.environ):
        return
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        return
    name = one_line(begin.name or readable_name(begin.run))
    if page:
        tell("the run %s is at %s", name, one_line(page))
    else:
        log.info("Streamvis: the run is %s", name)
