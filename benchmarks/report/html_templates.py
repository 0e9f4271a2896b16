"""Renders the jinja2 templates in `templates/` to HTML pages.

Style sheet and images are embedded, so that each page is one file.
"""

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
    """Return the jinja2 environment of the templates.

    Commands call this before they measure, so that a missing jinja2 fails at once.

    Raises:
        ModuleNotFoundError: jinja2 is not installed.
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
    """Return the HTML text of a page.

    Args:
        template: the file name in `templates/`.
        variables: the variables of the template.

    Raises:
        ModuleNotFoundError: jinja2 is not installed.
    """
    return environment().get_template(template).render(variables)


def png_uri(image: Image.Image) -> str:
    """Return an image as the data: URI of a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
