"""Serve the files of a page from memory, with ETags.

The files are read once at startup, so that no request can reach other files. Used for the drawing
page (page/) and by the camera preview.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "page"  # the files of the drawing page
INDEX = "index.html"  # is served at / too
# Files with other suffixes are not served.
_MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class File:
    """One file of a page.

    Attributes:
        content: the bytes of the file.
        media_type: its content type.
        tag: its ETag, a quoted hash of the content.
    """

    content: bytes
    media_type: str
    tag: str

    async def respond(self, request: Request) -> Response:
        """Return the file, or 304 if the browser's cached version has the same ETag."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache"}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def load(folder: Path = FOLDER) -> dict[str, File]:
    """Return the files of a page by URL path."""
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
