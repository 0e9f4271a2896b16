"""Classifies a listing on a Ray cluster.

Ray Data reads the listing, a pool of actors reads and classifies images, and Ray writes Parquet.
Ray's checkpoint records the keys of all written rows. A resumed run skips them, and deletes files
whose rows were not recorded, see
https://docs.ray.io/en/latest/data/api/doc/ray.data.checkpoint.CheckpointConfig.html
"""

import contextlib
import logging
import os
import socket
import sys
import tempfile
from pathlib import Path

import pyarrow
import ray
import ray.data
from ray.data.checkpoint import CheckpointConfig

from runtime.bulk import read_images, rows, storage
from runtime.bulk.output import Listing, Manifest, Output
from runtime.bulk.rows import RowWork
from runtime.bulk.sources import Entry
from runtime.cli.batch import BatchJob
from runtime.errors import EdgeError
from runtime.model.default_model import find_model
from runtime.system import interrupt

_KEY = "path"  # column that is unique in the rows
_BATCH_IMAGES = 128  # images of a task of an actor
_ACTOR_CPUS = 0.75  # of an actor that classifies; it waits for files in between
_IO_CPUS = 0.25  # of a task that reads the listing or writes rows
_MAX_ACTORS = 10_000  # Ray starts as many as the cluster has room for
_CONNECT_S = 10.0  # to the head of the cluster
_PENDING = ".pending.parquet"  # ends the names of checkpoints whose rows may be incomplete
_FILTER_BYTES = 64 << 20  # memory that Ray reserves to compare keys, besides that of the keys


class Classify:
    """Classifies batches of the listing in an actor; its node needs no file of the model.

    Args:
        name: name of the model file.
        model: its bytes.
        manifest: the options.
        threads: number of threads of the engine.
        device: "cpu" or "gpu".
    """

    def __init__(
        self, name: str, model: bytes, manifest: Manifest, threads: int, device: str
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, name)
            with open(path, "wb") as file:
                file.write(model)
            job = rows.job(path, manifest.engine, threads, device, manifest.read)
            job.open()
        if manifest.folder is not None:
            os.chdir(storage.to_name(manifest.folder))
        self._work = RowWork(job)
        self._manifest = manifest

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """Return the rows of a batch of the listing."""
        manifest = self._manifest
        columns = (batch.column(name).to_pylist() for name in ("file", "row", "error"))
        entries = [Entry(*values) for values in zip(*columns, strict=True)]
        done = self._work.do(list(read_images.read(entries, manifest.column)))
        return rows.table(done, manifest.read, manifest.model, manifest.engine)


def classify(
    listing: Listing, output: Output, manifest: Manifest, job: BatchJob, address: str
) -> None:
    """Classify the images that have no row yet.

    Args:
        listing: all images.
        output: the output folder, which all nodes must see.
        manifest: the options.
        job: the job, with an open model.
        address: of the cluster: HOST:PORT or "auto".

    Raises:
        EdgeError: the cluster cannot be reached, or its run failed.
    """
    _check_answers(address)
    # Ray prints what it does about lost nodes on stdout, which is for the result.
    with interrupt.immediate(), contextlib.redirect_stdout(sys.stderr):
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _no_cluster(address, error) from error
        try:
            _run(listing, output, manifest, job)
        except (ray.exceptions.RayError, OSError, RuntimeError) as error:
            raise EdgeError(
                f"the Ray cluster at {address} could not finish ({_last_line(error)}); check it "
                "with `ray status`, then continue with --resume"
            ) from error
        finally:
            ray.shutdown()


def done_before(output: Output) -> int:
    """Return the number of images whose rows an earlier run has recorded."""
    if storage.kind(output.checkpoint) == "missing":
        return 0
    files, _ = storage.names(output.checkpoint)
    total = 0
    for name in files:
        if not name.endswith(_PENDING):
            with storage.open_parquet(storage.join(output.checkpoint, name)) as file:
                total += file.metadata.num_rows
    return total


def _run(listing: Listing, output: Output, manifest: Manifest, job: BatchJob) -> None:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    context.print_on_execution_start = False
    if hasattr(context, "use_datasource_v2"):
        # Its task that lists files takes a whole CPU: two one-CPU nodes would wait for ever.
        context.use_datasource_v2 = False
    system, out = storage.filesystem(_absolute(output.folder))
    checkpoint = CheckpointConfig(
        _KEY,
        storage.filesystem(_absolute(output.checkpoint))[1],
        delete_checkpoint_on_success=False,  # otherwise --resume would classify all again
        override_filesystem=system,
    )
    checkpoint.checkpoint_actor_memory_bytes = _FILTER_BYTES
    checkpoint.checkpoint_actor_pool_max_size = 1  # it takes a whole CPU, and does little
    context.checkpoint_config = checkpoint
    path = Path(job.model) if job.model is not None else find_model(job.backend)
    images = ray.data.read_parquet(
        storage.filesystem(_absolute(listing.path))[1],
        filesystem=system,
        num_cpus=_IO_CPUS,
        override_num_blocks=max(1, -(-listing.images // manifest.part_rows)),
    )
    images.map_batches(
        Classify,
        fn_constructor_args=(path.name, path.read_bytes(), manifest, job.threads, job.device),
        batch_size=_BATCH_IMAGES,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=_MAX_ACTORS),
        num_cpus=_ACTOR_CPUS,
    ).write_parquet(out, filesystem=system, ray_remote_args={"num_cpus": _IO_CPUS})


def _check_answers(address: str) -> None:
    """Raise EdgeError if nothing listens at HOST:PORT: Ray would try to connect for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return  # auto, local, or a form that only Ray knows
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> EdgeError:
    return EdgeError(
        f"--ray {address}: no cluster answers ({_last_line(error)}); start one with "
        "`ray start --head`, and pass its HOST:PORT"
    )


def _absolute(path: str) -> str:
    return path if storage.is_remote(path) else os.path.abspath(path)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
