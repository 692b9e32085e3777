"""How many files and connections this process may have open at a time. Connections must never take the room that files need."""

from __future__ import annotations

__all__ = ["room_for_connections"]

_OTHERS = 512
"""Files of a store, connections to others, what page code opens."""


def room_for_connections(wanted: int) -> int:
    """How many connections may be open, `wanted` at most. Raises the process's own limit of open files where that is too low."""
    try:
        import resource
    except ImportError:  # Windows, where there is no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        try:
            soft_then = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft_then, hard))
            soft = soft_then
        except (OSError, ValueError):
            pass  # the system allows less than it says: then so it is
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    return min(wanted, max(soft // 2, soft - _OTHERS))
