"""HTML pages from the jinja2 templates in `templates/`; each is one file without references."""

import base64
import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from jinja2 import Environment


@functools.cache
def environment() -> "Environment":
    """Return the environment of the templates.

    Raises:
        ModuleNotFoundError: jinja2 is not installed. A command calls this before it measures.
    """
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(template: str, **variables: object) -> str:
    """Return the text of a page.

    Args:
        template: the file's name in `templates/`.
        variables: the names that the template reads.

    Raises:
        ModuleNotFoundError: jinja2 is not installed.
    """
    return environment().get_template(template).render(variables)


def png_uri(image: Image.Image) -> str:
    """Return an image as the data: URI of a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
