"""Bounds the size of an uploaded image before it is decoded."""

import io

from PIL import Image

from runtime.errors import ImageError
from runtime.multi_digit.recognize import estimate_page_memory
from runtime.preprocess.decode import FORMATS
from runtime.preprocess.decode_cost import check_work
from runtime.preprocess.decode_memory import memory_bytes
from runtime.serve.limits import Limits
from runtime.serve.problem_details import HttpProblem


def check_size(image: bytes, limits: Limits, page: bool) -> int:
    """Return about how many bytes it takes to decode an image, or to read it as a `page`.

    The file itself counts twice: the server holds it, and so does the worker.

    Nothing is decoded yet. For a damaged image 0 is returned: the decoder reports the damage.

    Raises:
        HttpProblem: 413 if its header or its markers say that it takes too much memory or time.
    """
    try:
        check_work(io.BytesIO(image), "the image")
    except ImageError as error:
        raise HttpProblem(413, str(error)) from error
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as opened:
            pixels = opened.size[0] * opened.size[1]
            needed = max(memory_bytes(opened), estimate_page_memory(opened.size) if page else 0)
            needed += 2 * len(image)
            # The decoder reduces a JPEG while it reads it: to an eighth of its sides.
            if opened.format in ("JPEG", "MPO"):
                pixels //= 4
    except Image.DecompressionBombError as error:
        raise HttpProblem(413, f"the image has more than {limits.pixels:,} pixels") from error
    # What Pillow raises on damaged files; the decoder meets the same, and names it.
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError):
        return 0
    except (AttributeError, AssertionError, MemoryError, RuntimeError):
        return 0
    if pixels > limits.pixels:
        raise HttpProblem(413, f"the image has more than {limits.pixels:,} pixels: scale it down")
    if needed > limits.work_bytes:
        raise HttpProblem(
            413,
            f"the image takes {needed // 1_000_000} MB to decode, more than "
            f"{limits.work_bytes // 1_000_000}: scale it down, or save it as a plain JPEG",
        )
    return needed
