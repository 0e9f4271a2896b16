"""Defines `RawSplit` and `RawDataSet`: images as a file or folder contains them, with labels.

The readers of `train.data.formats` return them. `train.data.convert` converts the images to the
form that the network takes. Images of files and of encoded bytes are decoded only there, one at a
time; images of arrays stay one array.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RawSplit:
    """Images of any size with their classes.

    Attributes:
        source: the file or folder of the images, for messages.
        images: one array uint8 (N, height, width) or (N, height, width, 3 or 4); or N paths or
            bytes of encoded images, each of any size.
        labels: class indices, int64 (N,).
    """

    source: str
    images: npt.NDArray[np.uint8] | Sequence[Path | bytes]
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def name_of(self, index: int) -> str:
        """Return the name of an image for messages: its path, or the source and the index."""
        image = self.images[index]
        return str(image) if isinstance(image, Path) else f"{self.source}[{index}]"


@dataclass(frozen=True, eq=False)
class RawDataSet:
    """Images of a data set as they are stored.

    Attributes:
        name: name of the data set, usually that of its file or folder.
        labels: names of the classes; a class index is an index into this tuple.
        train: training images; all images if `test` is None.
        test: test images; None if the data set is not divided.
    """

    name: str
    labels: tuple[str, ...]
    train: RawSplit
    test: RawSplit | None
