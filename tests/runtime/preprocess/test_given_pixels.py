"""`stack_pixels` accepts only arrays that are already pixels, all of one shape."""

import numpy as np
import pytest

from runtime.preprocess.pipeline import stack_pixels

pytestmark = pytest.mark.portable

PIXELS = np.zeros((28, 28, 1), np.uint8)


def test_arrays_of_pixels_are_stacked() -> None:
    assert stack_pixels([PIXELS] * 3).shape == (3, 28, 28, 1)


@pytest.mark.parametrize(
    "other",
    [
        PIXELS[:, :, 0],
        PIXELS[:14],
        np.zeros((56, 28, 1), np.uint8),
        np.zeros((28, 27, 1), np.uint8),
        np.zeros((28, 28, 3), np.uint8),
        PIXELS.astype(bool),
        PIXELS.astype(np.int8),
        PIXELS.astype(np.float32),
        np.array(3, np.uint8),
        b"",
    ],
    ids=lambda other: f"{type(other).__name__}-{getattr(other, 'dtype', '')}",
)
def test_batch_with_another_kind_of_image_is_not_stacked(other) -> None:
    assert stack_pixels([PIXELS, other]) is None
    assert stack_pixels([other, PIXELS]) is None
