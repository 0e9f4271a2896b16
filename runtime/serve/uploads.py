"""Reads the image of a request, within the limits."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from runtime.serve.limits import Limits
from runtime.serve.problem_details import HttpProblem

_ACCEPTED = "image/*, application/octet-stream or multipart/form-data"


class _Parser(MultiPartParser):
    # The body stays in memory: it is smaller than a limit.
    spool_max_size = 1 << 40


async def read_image(
    request: Request, limits: Limits, take: Callable[[int], None]
) -> bytes | bytearray:
    """Return the bytes of the image that a request carries, as its body or in a form.

    Args:
        take: told the size of every piece that arrives; see `UploadBudget.lease`.

    Raises:
        HttpProblem: 400, 408, 413, 415 or 503.
    """
    kind = request.headers.get("content-type", "application/octet-stream")
    kind = kind.partition(";")[0].strip().lower()
    form = kind == "multipart/form-data"
    if not (form or kind == "application/octet-stream" or kind.startswith("image/")):
        raise HttpProblem(415, f"the content type is {kind or 'empty'}: send {_ACCEPTED}")
    pieces = _pieces(request, limits, take)
    reading: Coroutine[Any, Any, bytes | bytearray]
    reading = _file_in_form(request, pieces) if form else _whole(pieces)
    try:
        image: bytes | bytearray = await asyncio.wait_for(reading, limits.seconds)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise HttpProblem(
            408, f"the body did not arrive within {limits.seconds:g} s", {"Connection": "close"}
        ) from error
    except ClientDisconnect as error:
        raise HttpProblem(400, "the connection ended before the body did") from error
    if not image:
        raise HttpProblem(400, "no image was sent: send the bytes of one as the body, or in a form")
    return image


async def _pieces(
    request: Request, limits: Limits, take: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """Yield the body as it arrives.

    Raises:
        HttpProblem: 413 if it is too large, 503 if too much is being sent.
    """
    too_large = HttpProblem(413, f"the body is larger than {limits.body_bytes:,} bytes")
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and int(stated) > limits.body_bytes:
        raise too_large
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limits.body_bytes:
            raise too_large
        take(len(piece))
        yield piece


async def _whole(pieces: AsyncGenerator[bytes, None]) -> bytearray:
    body = bytearray()
    async for piece in pieces:
        body += piece
    return body


async def _file_in_form(request: Request, pieces: AsyncGenerator[bytes, None]) -> bytes:
    try:
        form = await _Parser(request.headers, pieces, max_files=1, max_fields=8).parse()
    except MultiPartException as error:
        raise HttpProblem(400, f"the form cannot be read: {error.message}") from error
    except (KeyError, ValueError, LookupError) as error:
        raise HttpProblem(400, f"the form cannot be read: {error!r:.80}") from error
    try:
        for _, value in form.multi_items():
            if isinstance(value, UploadFile):
                return await value.read()
    finally:
        await form.close()
    raise HttpProblem(400, "the form has no file: give it a field image with the file's name")
