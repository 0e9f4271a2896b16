"""Recognizes MNIST by the SHA-256 of its images and labels, in any file format.

`train.data.validate` calls `is_mnist` to name a data set; `train.data.download` verifies files with
MNIST_SHA256.
"""

import hashlib
import struct

import numpy as np
import numpy.typing as npt

from train.data.splits import Split

MNIST = "MNIST"  # the name of the data set in messages and in a model's spec
# File name → SHA-256 of the decompressed IDX file. Compressed files differ between mirrors.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
KINDS = ("images-idx3", "labels-idx1")  # middle parts of the names of MNIST's files
IDX_UBYTE = 0x08  # type code of unsigned bytes in an IDX header; files of other types are rejected


def is_mnist(train: Split, test: Split) -> bool:
    """Return whether two splits are MNIST's training and test images, in the original order.

    The labels are compared too. Other images, or another order, give False.
    """
    for part, split in (("train", train), ("t10k", test)):
        arrays: tuple[npt.NDArray[np.generic], ...] = (split.pixels[..., 0], split.labels)
        for kind, data in zip(KINDS, arrays, strict=True):
            header = struct.pack(f">HBB{data.ndim}I", 0, IDX_UBYTE, data.ndim, *data.shape)
            content = hashlib.sha256(header + data.astype(np.uint8).tobytes()).hexdigest()
            if content != MNIST_SHA256[f"{part}-{kind}-ubyte"]:
                return False
    return True
