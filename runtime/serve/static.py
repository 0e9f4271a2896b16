"""Serve the files of a page from memory, with ETags.

The files are read once at startup, so that no request can reach other files. `runtime.serve.app`
serves the drawing page with this module, and the camera preview serves its own page.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "page"  # the files of the drawing page
INDEX = "index.html"  # this file is also served at the path /
# Suffix of a file → content type. Files with other suffixes are not served.
_MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class File:
    """One file of a page.

    Attributes:
        content: the bytes of the file.
        media_type: content type, such as "text/css".
        tag: ETag, a quoted hash of the content; it changes if the content changes.
    """

    content: bytes
    media_type: str
    tag: str

    async def respond(self, request: Request) -> Response:
        """Return the file, or an empty response 304 if the browser's copy has the same ETag."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache"}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def load(folder: Path = FOLDER) -> dict[str, File]:
    """Return URL path → file for a page.

    Args:
        folder: the folder of the files; it must contain index.html.
    """
    files = {
        f"/{path.name}": _open(path)
        for path in sorted(folder.iterdir())
        if path.suffix in _MEDIA_TYPES
    }
    return {"/": files[f"/{INDEX}"], **files}


def _open(path: Path) -> File:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return File(content, _MEDIA_TYPES[path.suffix], f'"{digest}"')
