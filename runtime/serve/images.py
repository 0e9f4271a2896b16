"""Check an upload in the worker before its image is decoded: its size, and JSON around the image.

`runtime.serve.worker` calls `check_size`, and then reserves the estimated memory. A decompression
bomb is a small file that decodes to a huge image, or a short text that parses to many objects.
"""

import base64
import binascii
import io
import json
from typing import Any

from PIL import Image

from runtime.errors import ImageError
from runtime.multi_digit.recognize import estimate_page_memory
from runtime.preprocess.decode import FORMATS
from runtime.preprocess.decode_cost import check_work
from runtime.preprocess.decode_memory import memory_bytes
from runtime.serve.limits import Limits
from runtime.serve.problem_details import HttpProblem

_JPEG_PIXEL_FACTOR = 4  # a JPEG with more than this many times `Limits.pixels` is rejected (413)

# Estimated memory of parsed JSON: a multiple of the text, and bytes per comma (a list item: a
# pointer, and a number or a short text) and per opening bracket (a list or an object).
_JSON_TEXT_FACTOR = 3
_COMMA_BYTES = 64
_BRACKET_BYTES = 300


def check_json_size(body: bytes, limits: Limits) -> int:
    """Estimate the memory to parse JSON.

    Args:
        body: the JSON, in UTF-8.
        limits: `work_bytes` limits the memory.

    Returns:
        The estimate in bytes.

    Raises:
        HttpProblem: 413 if the JSON would take too much memory.
    """
    brackets = body.count(b"[") + body.count(b"{")
    commas = body.count(b",")
    needed = _JSON_TEXT_FACTOR * len(body) + _COMMA_BYTES * commas + _BRACKET_BYTES * brackets
    if needed > limits.work_bytes:
        raise HttpProblem(
            413, "the JSON has too many values: send fewer images, or binary data instead of JSON"
        )
    return needed


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        HttpProblem: 400 if the body is not a JSON object in UTF-8.
    """
    try:
        record = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise HttpProblem(400, "the body is not JSON in UTF-8") from error
    if not isinstance(record, dict):
        raise HttpProblem(400, "the body is not a JSON object")
    return record


def image_in_json(body: bytes) -> bytes:
    """Return the image of a JSON object {"image": "base64 or data URL"}.

    Raises:
        HttpProblem: 400 if the body has another form, or the image is empty.
    """
    text = parse_json_object(body).get("image")
    if not isinstance(text, str):
        raise HttpProblem(400, 'no image was sent: send {"image": "the file in base64"}')
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise HttpProblem(400, "the data URL is not base64: it needs ;base64 before the comma")
    try:
        image = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise HttpProblem(400, "the image is not base64, or its end is missing") from error
    if not image:
        raise HttpProblem(400, "no image was sent: image is empty")
    return image


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
