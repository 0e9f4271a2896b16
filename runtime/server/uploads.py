"""Takes the image out of a request, within the limits."""

import asyncio
import io
from collections.abc import AsyncGenerator, Callable

from PIL import Image
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from runtime.decode import FORMATS
from runtime.memory import memory_bytes
from runtime.reading import page_bytes
from runtime.server.limits import Limits
from runtime.server.problems import Problem

_ACCEPTED = "image/*, application/octet-stream or multipart/form-data"


class _Parser(MultiPartParser):
    # The body is in memory already: no second copy of it in a temporary file.
    spool_max_size = 1 << 40


async def read_image(request: Request, limits: Limits, take: Callable[[int], None]) -> bytes:
    """The bytes of the image that a request carries, as its body or in a form.

    Args:
        take: told the size of every piece that arrives; see `Memory.lease`.

    Raises:
        Problem: 400, 408, 413, 415 or 503.
    """
    kind = request.headers.get("content-type", "application/octet-stream")
    kind = kind.partition(";")[0].strip().lower()
    form = kind == "multipart/form-data"
    if not (form or kind == "application/octet-stream" or kind.startswith("image/")):
        raise Problem(415, f"the content type is {kind or 'empty'}: send {_ACCEPTED}")
    try:
        body = await asyncio.wait_for(_read_body(request, limits, take), limits.seconds)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise Problem(
            408, f"the body did not arrive within {limits.seconds:g} s", {"Connection": "close"}
        ) from error
    except ClientDisconnect as error:
        raise Problem(400, "the connection ended before the body did") from error
    image = await _file_in_form(request, body) if form else body
    if not image:
        raise Problem(400, "no image was sent: send the bytes of one as the body, or in a form")
    return image


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


async def _read_body(request: Request, limits: Limits, take: Callable[[int], None]) -> bytes:
    too_large = Problem(413, f"the body is larger than {limits.body_bytes:,} bytes")
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and int(stated) > limits.body_bytes:
        raise too_large
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limits.body_bytes:
            raise too_large
        take(len(piece))
        pieces.append(piece)
    return b"".join(pieces)


async def _file_in_form(request: Request, body: bytes) -> bytes:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    try:
        form = await _Parser(request.headers, stream(), max_files=1, max_fields=8).parse()
    except MultiPartException as error:
        raise Problem(400, f"the form cannot be read: {error.message}") from error
    except (KeyError, ValueError, LookupError) as error:
        raise Problem(400, f"the form cannot be read: {error!r:.80}") from error
    try:
        for _, value in form.multi_items():
            if isinstance(value, UploadFile):
                return await value.read()
    finally:
        await form.close()
    raise Problem(400, "the form has no file: give it a field image with the file's name")
