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

from runtime.multi_digit.line_reader import HEIGHT_PX, STRIDE_PX
from train.data.splits import Split
from train.lines import seeds
from train.lines.compose import Composer, Line
from train.negatives import letter_fonts

_CHUNK_BATCHES = 8  # composed together, so that lines of similar width share a batch
_CHUNKS_AHEAD = 3  # chunks that are composed before they are needed
_WIDTH_STEPS = 4  # the width of a batch is a multiple of this many time steps

_composer: Composer  # of the process that composes


@dataclass(frozen=True, eq=False)
class LineBatch:
    """Lines of one width.

    Attributes:
        pixels: uint8 (N, 32, width, 1); lines without a text are last.
        texts: of each line.
    """

    pixels: npt.NDArray[np.uint8]
    texts: tuple[str, ...]


def stack(lines: list[Line]) -> LineBatch:
    """Pad lines on the right to one width, a multiple of `STRIDE_PX`; lines without a text last.

    The CTC loss of a line is infinite if it has fewer time steps than `_steps_needed`.
    """
    ordered = sorted(lines, key=lambda line: not line.text)
    width = max(max(line.pixels.shape[1], _steps_needed(line) * STRIDE_PX) for line in lines)
    width += -width % (_WIDTH_STEPS * STRIDE_PX)
    pixels = np.zeros((len(lines), HEIGHT_PX, width, 1), np.uint8)
    for line, page in zip(ordered, pixels, strict=True):
        page[:, : line.pixels.shape[1], 0] = line.pixels
    return LineBatch(pixels, tuple(line.text for line in ordered))


def _steps_needed(line: Line) -> int:
    """Return the time steps of the shortest path: one a symbol, one blank between equal ones."""
    return len(line.text) + sum(symbol == following for symbol, following in pairwise(line.text))


def stack_by_width(lines: list[Line], batch_size: int) -> list[LineBatch]:
    """Stack lines of similar width to batches, the narrowest first."""
    ordered = sorted(lines, key=lambda line: line.pixels.shape[1])
    starts = range(0, len(ordered), batch_size)
    return [stack(ordered[start : start + batch_size]) for start in starts]


class BatchSource:
    """The batches of a pool of lines, composed in chunks when they are first needed.

    All composed chunks stay in memory, because each pass over the pool needs them again.

    Args:
        split: digits that the lines are composed of.
        writers: (N,) index of each image's writer; None if unknown.
        batch_size: lines a batch.
        pool: number of different lines; rounded down to whole chunks of `_CHUNK_BATCHES` batches,
            at least one.
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
        self._chunks = max(pool // (batch_size * _CHUNK_BATCHES), 1)
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
        chunks = range(first // _CHUNK_BATCHES, -(-last // _CHUNK_BATCHES))
        upcoming = deque(self._chunk_index(n) for n in chunks)
        for n in chunks:
            for chunk in list(upcoming)[: _CHUNKS_AHEAD + 1]:
                if chunk not in self._composed and chunk not in waiting:
                    waiting[chunk] = self._processes.submit(
                        _compose, self._batch_size, (self._seed, chunk)
                    )
            chunk = upcoming.popleft()
            if chunk in waiting:
                self._composed[chunk] = waiting.pop(chunk).result()
            batches = self._composed[chunk]
            random = np.random.default_rng((self._seed, seeds.SHUFFLE_IN_CHUNK, n))
            order = random.permutation(_CHUNK_BATCHES)
            for place in range(_CHUNK_BATCHES):
                if first <= n * _CHUNK_BATCHES + place < last:
                    yield batches[order[place]]

    def _chunk_index(self, n: int) -> int:
        """Return which chunk of the pool is the `n`-th of the training."""
        pass_index, place = divmod(n, self._chunks)
        random = np.random.default_rng((self._seed, seeds.CHUNK_ORDER, pass_index))
        return int(random.permutation(self._chunks)[place])


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
    n = batch_size * _CHUNK_BATCHES
    return stack_by_width(_composer.lines_as_read(n, (*seed, seeds.TRAINING_LINES)), batch_size)
