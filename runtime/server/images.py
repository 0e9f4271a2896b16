"""Bounds the size of an uploaded image before it is decoded."""

import io

from PIL import Image

from runtime.decode import FORMATS
from runtime.memory import memory_bytes
from runtime.reading import page_bytes
from runtime.server.limits import Limits
from runtime.server.problems import Problem


def check_size(image: bytes, limits: Limits, page: bool) -> int:
    """About how many bytes it takes to look at an image, or to read it as a `page`.

    Nothing is decoded yet. What is no image takes none: the decoder says better what is wrong.

    Raises:
        Problem: 413 for one that says it is too large.
    """
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as opened:
            pixels = opened.size[0] * opened.size[1]
            needed = max(memory_bytes(opened), page_bytes(opened.size) if page else 0)
            # The decoder reduces a JPEG while it reads it: to an eighth of its sides.
            if opened.format in ("JPEG", "MPO"):
                pixels //= 4
    except Image.DecompressionBombError as error:
        raise Problem(413, f"the image has more than {limits.pixels:,} pixels") from error
    # What Pillow raises on damaged files; the decoder meets the same, and names it.
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError):
        return 0
    except (AttributeError, AssertionError, MemoryError, RuntimeError):
        return 0
    if pixels > limits.pixels:
        raise Problem(413, f"the image has more than {limits.pixels:,} pixels: scale it down")
    if needed > limits.work_bytes:
        raise Problem(
            413,
            f"the image takes {needed // 1_000_000} MB to decode, more than "
            f"{limits.work_bytes // 1_000_000}: scale it down, or save it as a plain JPEG",
        )
    return needed
