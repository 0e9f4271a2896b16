"""Classifies the images of SOURCE that have no row yet, on this machine or on a Ray cluster.

`digit-edge bulk` calls `run`.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from runtime.bulk import read_images, rows, sources, storage
from runtime.bulk.output import Listing, Manifest, Output
from runtime.bulk.rows import Item, Row, RowWork
from runtime.bulk.sources import Shard
from runtime.cli.batch import BatchJob
from runtime.cli.inputs import PipedImage
from runtime.cli.progress import Progress
from runtime.cli.worker_pool import Pool
from runtime.errors import EdgeError, plural
from runtime.system import interrupt

# Images in a task. They are the same in a resumed run, because the scores of a float model depend
# on the batch in the last bit.
_CLASSIFIED_BATCH = 128  # a thirtieth of a second for small files
_READ_BATCH = 16  # reading numbers takes 50 times as long
_MAX_BATCH_BYTES = 16 << 20  # of encoded images from Parquet or S3
_LOG_INTERVAL_S = 30.0  # between two lines of progress in a log file

_Pool: TypeAlias = Pool[Sequence[Item], list[Row]]


@dataclass(frozen=True)
class Options:
    """The command's options.

    Attributes:
        source: a folder, a pattern, a list file, Parquet or an image; local or on S3.
        out: the output folder.
        shard: the share of the images to classify.
        resume: whether the shard may have been begun before.
        read: whether to read numbers.
        column: the column of images in Parquet files; None finds it.
        null: whether the paths of a list end with NUL.
        part_rows: rows of a part file.
        jobs: number of processes.
        ray: address of a Ray cluster; None classifies on this machine.
        model: path of the artifact; None for the default model.
        backend: name of the engine; None for the first installed one.
        threads: number of threads of the engine.
        device: "cpu" or "gpu".
    """

    source: str
    out: str
    shard: Shard
    resume: bool
    read: bool
    column: str | None
    null: bool
    part_rows: int
    jobs: int
    ray: str | None
    model: str | None
    backend: str | None
    threads: int
    device: str


@dataclass(frozen=True)
class Summary:
    """What a run has done.

    Attributes:
        images: images of the shard.
        before: images that had a row before this run.
        accepted: images of the shard whose prediction is accepted.
        errors: images of the shard that could not be read.
    """

    images: int
    before: int
    accepted: int
    errors: int


def run(options: Options) -> Summary:
    """Classify the images of a shard that have no row yet.

    Raises:
        EdgeError: SOURCE has no images, OUT belongs to a run with other options or to a running
            process, or something cannot be read or written.
    """
    job = rows.job(options.model, options.backend, options.threads, options.device, options.read)
    job.open()
    # The workers are forked first: threads and connections of S3 do not survive a fork.
    alone = options.jobs == 1 or options.ray is not None
    pool: _Pool | None = None if alone else Pool(RowWork(job), options.jobs)
    try:
        return _run(options, job, pool)
    finally:
        if pool is not None:
            pool.close()


def _run(options: Options, job: BatchJob, pool: "_Pool | None") -> Summary:
    output = Output(options.out)
    manifest = _manifest(options, job)
    output.claim(manifest)
    with output.locked(options.shard):
        listing = output.listing(options.shard)
        if listing is not None and not options.resume:
            raise EdgeError(
                f"{options.out} has results of an earlier run: pass --resume to continue it, or "
                "choose another folder with --out"
            )
        output.remove_temporary(options.shard)
        if listing is None:
            listing = _list(options, output, manifest)
        before = _count_before(output, listing, options)
        if before:
            total = plural(listing.images, "image")
            print(f"{before:,} of {total} were done before", file=sys.stderr)
        if before < listing.images:
            if options.ray is not None:
                from runtime.bulk import on_ray  # here, because ray is another extra

                on_ray.classify(listing, output, manifest, job, options.ray)
            else:
                _classify(options, output, listing, manifest, job, pool)
        totals = output.totals(None if options.ray is not None else options.shard)
        if totals.rows != listing.images:
            raise EdgeError(
                f"{options.out} has {totals.rows:,} rows of {plural(listing.images, 'image')}: "
                "another program changed it; choose another folder with --out"
            )
        return Summary(listing.images, before, totals.accepted, totals.errors)


def _count_before(output: Output, listing: Listing, options: Options) -> int:
    """Return the number of images that earlier runs have classified."""
    if options.ray is not None:
        from runtime.bulk import on_ray

        return on_ray.done_before(output)
    missing = listing.sizes(output.parts(options.shard))
    return listing.images - sum(count for _, count in missing)


def _manifest(options: Options, job: BatchJob) -> Manifest:
    is_list = sources.is_list(options.source)
    relative = not (storage.is_remote(options.source) or options.source.startswith("/"))
    return Manifest(
        source=storage.to_text(options.source),
        folder=storage.to_text(os.getcwd()) if relative or is_list else None,
        list_sha256=sources.digest_of_list(options.source) if is_list else None,
        null=options.null,
        column=options.column,
        read=options.read,
        model=job.classifier.spec.digest,
        engine=job.classifier.backend.name,
        shards=options.shard.total,
        part_rows=options.part_rows,
        ray=options.ray is not None,
    )


def _list(options: Options, output: Output, manifest: Manifest) -> Listing:
    """List the images of a shard."""
    entries = sources.find(
        options.source,
        options.shard,
        options.column,
        b"\0" if options.null else b"\n",
        options.part_rows,
    )
    with interrupt.immediate():
        return output.write_listing(options.shard, entries, manifest)


def _classify(
    options: Options,
    output: Output,
    listing: Listing,
    manifest: Manifest,
    job: BatchJob,
    pool: "_Pool | None",
) -> None:
    """Classify the images of the parts that do not exist, and write these parts."""
    done = output.parts(options.shard)
    missing = listing.sizes(done)
    batches = _batches(listing, done, options)
    results = map(RowWork(job).do, batches) if pool is None else pool.answers(batches)
    progress = _Progress(sum(count for _, count in missing))
    rest: list[Row] = []
    try:
        for number, count in missing:
            while len(rest) < count:
                interrupt.check()
                new = next(results)
                rest += new
                progress.advance(len(new))
            part, rest = rest[:count], rest[count:]
            table = rows.table(part, options.read, manifest.model, manifest.engine)
            output.write_part(options.shard, number, table)
    finally:
        progress.clear()


def _batches(listing: Listing, done: set[int], options: Options) -> Iterator[list[Item]]:
    """Yield the images of all parts that are not done, in order; no batch has images of two."""
    size = _READ_BATCH if options.read else _CLASSIFIED_BATCH
    for _, entries in listing.parts(done):
        batch: list[Item] = []
        total_bytes = 0
        for item in read_images.read(entries, options.column):
            batch.append(item)
            total_bytes += len(item.image.data) if isinstance(item.image, PipedImage) else 0
            if len(batch) == size or total_bytes >= _MAX_BATCH_BYTES:
                yield batch
                batch, total_bytes = [], 0
        if batch:
            yield batch


class _Progress:
    """Progress on stderr: a line that is redrawn on a terminal, a line now and then in a log."""

    def __init__(self, total: int) -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._line = Progress(sys.stderr if terminal else None, lambda: total)
        self._terminal = terminal
        self._next_s = time.monotonic() + _LOG_INTERVAL_S

    def advance(self, count: int) -> None:
        """Count images, and print the progress if its interval is over."""
        self._line.advance(count)
        if not self._terminal and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _LOG_INTERVAL_S
            print(self._line.text(), file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Erase the line on the terminal."""
        self._line.clear()
