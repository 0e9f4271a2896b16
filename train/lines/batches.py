"""Composes the batches of a training run in a process of its own; the seed decides all of them."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from train.data.splits import Split
from train.lines.compose import HEIGHT_PX, Composer, Line
from train.lines.network import STRIDE_PX
from train.negatives import letter_fonts

_CHUNK = 8  # batches that are composed together, so that lines of similar width share a batch
_AHEAD = 3  # chunks that are composed before they are needed

_composer: Composer  # of the process that composes


@dataclass(frozen=True, eq=False)
class LineBatch:
    """Lines of one width.

    Attributes:
        pixels: uint8 (N, 32, width, 1); empty lines are last.
        texts: of each line.
    """

    pixels: npt.NDArray[np.uint8]
    texts: tuple[str, ...]


def stack(lines: list[Line]) -> LineBatch:
    """Pad lines on the right to one width that `STRIDE_PX` divides; empty lines last.

    The CTC loss of a line is infinite if it has fewer columns than `_columns_needed`.
    """
    ordered = sorted(lines, key=lambda line: not line.text)
    width = max(max(line.pixels.shape[1], _columns_needed(line) * STRIDE_PX) for line in lines)
    width += -width % (4 * STRIDE_PX)
    pixels = np.zeros((len(lines), HEIGHT_PX, width, 1), np.uint8)
    for line, page in zip(ordered, pixels, strict=True):
        page[:, : line.pixels.shape[1], 0] = line.pixels
    return LineBatch(pixels, tuple(line.text for line in ordered))


def _columns_needed(line: Line) -> int:
    """Return the columns of the shortest path: one a sign, and a blank between two equal ones."""
    return len(line.text) + sum(sign == following for sign, following in pairwise(line.text))


class BatchSource:
    """The batches of a pool of lines, composed when they are first needed.

    Args:
        split: digits to compose of.
        writers: (N,) a number of each image's writer; None if unknown.
        batch_size: lines a batch.
        pool: different lines.
        seed: of everything random.
    """

    def __init__(
        self,
        split: Split,
        writers: npt.NDArray[np.int64] | None,
        batch_size: int,
        pool: int,
        seed: int,
    ) -> None:
        self._batch_size, self._seed = batch_size, seed
        self._chunks = max(pool // (batch_size * _CHUNK), 1)
        self._composed: dict[int, list[LineBatch]] = {}
        self._processes = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(split.pixels, split.labels, writers),
        )

    def close(self) -> None:
        """End the process that composes."""
        self._processes.shutdown(cancel_futures=True)

    def batches(self, first: int, last: int) -> Iterator[LineBatch]:
        """Yield the batches of steps `first` to `last` (exclusive), shuffled anew in each pass."""
        waiting: dict[int, Future[list[LineBatch]]] = {}
        chunks = range(first // _CHUNK, -(-last // _CHUNK))
        upcoming = deque(self._chunk_number(n) for n in chunks)
        for n in chunks:
            for number in list(upcoming)[: _AHEAD + 1]:
                if number not in self._composed and number not in waiting:
                    waiting[number] = self._processes.submit(
                        _compose, self._batch_size, (self._seed, number)
                    )
            number = upcoming.popleft()
            if number in waiting:
                self._composed[number] = waiting.pop(number).result()
            batches = self._composed[number]
            order = np.random.default_rng((self._seed, 1, n)).permutation(_CHUNK)
            for place in range(_CHUNK):
                if first <= n * _CHUNK + place < last:
                    yield batches[order[place]]

    def _chunk_number(self, n: int) -> int:
        turn, place = divmod(n, self._chunks)
        return int(np.random.default_rng((self._seed, 2, turn)).permutation(self._chunks)[place])


def _start(
    pixels: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    writers: npt.NDArray[np.int64] | None,
) -> None:
    global _composer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _composer = Composer(pixels, labels, writers, letter_fonts())


def _end_with_parent() -> None:
    """End this process when the one that trains was killed, which cannot shut it down."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _compose(batch_size: int, seed: tuple[int, int]) -> list[LineBatch]:
    lines = _composer.lines_as_read(batch_size * _CHUNK, (*seed, 3))
    lines.sort(key=lambda line: line.pixels.shape[1])
    return [stack(lines[at : at + batch_size]) for at in range(0, len(lines), batch_size)]
