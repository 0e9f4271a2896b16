"""Check the size of an uploaded image before it is decoded (decompression bombs).

`runtime.serve.worker` calls `check_size`, and then reserves the estimated memory. A decompression
bomb is a small file that decodes to a huge image.
"""

import io

from PIL import Image

from runtime.errors import ImageError
from runtime.multi_digit.recognize import estimate_page_memory
from runtime.preprocess.decode import FORMATS
from runtime.preprocess.decode_cost import check_work
from runtime.preprocess.decode_memory import memory_bytes
from runtime.serve.limits import Limits
from runtime.serve.problem_details import HttpProblem

_JPEG_PIXEL_FACTOR = 4  # a JPEG with more than this many times `Limits.pixels` is rejected (413)


def check_size(image: bytes, limits: Limits, page: bool) -> int:
    """Estimate the memory to decode an image, without decoding it.

    The size of the file counts twice, because the server and the worker each hold a copy.

    Args:
        image: the bytes of the file.
        limits: the limits to check.
        page: whether the image is read as a page of several digits, which takes more memory.

    Returns:
        The estimate in bytes. 0 for a damaged image; the decoder reports the damage later.

    Raises:
        HttpProblem: 413 if the image has too many pixels or would take too much memory or time.
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
            # The decoder scales a JPEG down while it decodes the file, so a JPEG may have more
            # pixels.
            if opened.format in ("JPEG", "MPO"):
                pixels //= _JPEG_PIXEL_FACTOR
    except Image.DecompressionBombError as error:
        raise HttpProblem(
            413, f"the image has more than {limits.pixels:,} pixels: scale it down"
        ) from error
    # Pillow raises these exceptions on damaged files. The decoder raises them again later, and the
    # client then gets the reason.
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError):
        return 0
    except (AttributeError, AssertionError, MemoryError, RuntimeError):
        return 0
    if pixels > limits.pixels:
        raise HttpProblem(413, f"the image has more than {limits.pixels:,} pixels: scale it down")
    if needed > limits.work_bytes:
        raise HttpProblem(
            413,
            f"decoding the image takes {needed // 1_000_000} MB, more than the limit of "
            f"{limits.work_bytes // 1_000_000} MB: scale the image down, or save it as a baseline "
            "JPEG",
        )
    return needed
