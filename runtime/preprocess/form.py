"""`Form`: which pixels a model takes, the ink of one character or a whole photograph.

The spec of a model contains its form. Training and `runtime.Classifier` convert images by it, so
that a model is trained on the same pixels that it later classifies.
"""

from dataclasses import dataclass
from functools import cached_property

from runtime.preprocess.mnist_format import PIXELS_SHAPE

INK = "ink"  # the ink of one character, light on black, centered, without its paper
PHOTO = "photo"  # the whole image, stretched to the model's size
FORMS = (INK, PHOTO)

MAX_SIDE_PX = 1024  # of the pixels that a model takes; a spec with a longer side is rejected


@dataclass(frozen=True)
class Form:
    """The pixels that a model takes.

    Attributes:
        name: `INK` or `PHOTO`.
        shape: height and width in pixels, and number of channels: 1, or 3 (RGB) for photographs.
    """

    name: str = INK
    shape: tuple[int, int, int] = PIXELS_SHAPE

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.shape[:2]

    @cached_property
    def array_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of a uint8 array that is used as pixels unchanged: (28, 28), (28, 28, 1)."""
        return (self.shape[:2], self.shape) if self.shape[2] == 1 else (self.shape,)

    def __str__(self) -> str:
        """Describe the form for people, such as `32x20 color (photo)`."""
        height, width, channels = self.shape
        return f"{height}x{width} {'color' if channels == 3 else 'gray'} ({self.name})"


MNIST_FORM = Form()  # of the published models, and of every spec without a form
