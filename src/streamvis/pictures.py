"""Images and figures of other libraries, as arrays that can be sent. None of those libraries is imported here.

A file (the bytes of a PNG, JPEG, GIF, WebP or WAV file) becomes an array of its bytes, uint8 (n,); an image of Pillow the array
of its pixels; a figure of Matplotlib a PNG file, drawn in the call, since it may change afterwards.
"""

from __future__ import annotations

import io
from typing import Any

__all__ = ["as_array", "is_picture"]

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_PLAIN_MODES = {"1", "L", "I", "I;16", "F", "RGB", "RGBA"}


def is_picture(node: Any) -> bool:
    """Whether `as_array` knows what to do with this."""
    if isinstance(node, (bytes, bytearray)):
        return node.startswith(_MAGIC)
    library = type(node).__module__.partition(".")[0]
    return (library == "PIL" and hasattr(node, "convert")) or (library == "matplotlib" and hasattr(node, "savefig"))


def as_array(node: Any) -> Any:
    """The array to send in place of a picture, which no one else holds."""
    import numpy as np

    if hasattr(node, "convert"):
        if node.mode not in _PLAIN_MODES:
            node = node.convert("RGBA" if "A" in node.mode or "transparency" in node.info else "RGB")
        return np.array(node)
    if hasattr(node, "savefig"):
        file = io.BytesIO()
        node.savefig(file, format="png", bbox_inches="tight")
        node = file.getvalue()
    return np.frombuffer(bytes(node), dtype=np.uint8).copy()
