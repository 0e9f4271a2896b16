"""On a Ray cluster, also one that loses nodes and its driver, every image has one row."""

import gc
import os
import time
import warnings

import pytest

ray = pytest.importorskip("ray", reason='needs ray: pip install "digit-edge[ray]"')
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore")]
STORE_BYTES = 80 << 20  # of a node's object store; the smallest that Ray accepts is 75 MB
MEMORY_BYTES = 500 << 20  # that a node declares


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs, and three nodes of one CPU each, on this machine."""
    node = {"object_store_memory": STORE_BYTES, "memory": MEMORY_BYTES}
    running = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **node}
    )
    running.workers = [running.add_node(num_cpus=1, **node) for _ in range(3)]
    yield running
    running.shutdown()
    with warnings.catch_warnings():
        # The process of a removed node is not waited for, which Python reports when it is freed.
        warnings.simplefilter("ignore")
        del running
        gc.collect()


def parts(out) -> int:
    return len(list(out.glob("*.parquet")))


def wait_for_parts(process, out, count) -> None:
    while parts(out) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_rows_are_those_of_one_machine(cluster, bulk, rows, folder, huggingface, tmp_path):
    (tmp_path / "list").write_text(
        "".join(f"{path}\n" for path in [*sorted(folder.rglob("*.*g")), huggingface()])
    )
    ray_options = ("--ray", cluster.address, "--part-rows", 100)
    done = bulk("list", "--out", "ray", *ray_options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert bulk("list", "--out", "one", cwd=tmp_path).stdout[4:] == done.stdout[4:]
    assert rows(tmp_path / "ray") == rows(tmp_path / "one")
    done = bulk("list", "--out", "ray", *ray_options, "--resume", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "353 of 353 images were done before\n")
    assert (
        "--ray was passed, is not passed"
        in bulk("list", "--out", "ray", "--part-rows", 100, "--resume", cwd=tmp_path).stderr
    )


def test_each_image_has_one_row_after_a_lost_node_and_a_killed_driver(
    cluster, start_bulk, bulk, rows, folder, tmp_path
):
    images = tmp_path / "images"
    images.mkdir()
    for copy in range(40):
        for path in folder.glob("[012]/*.png"):
            os.link(path, images / f"{copy:02}-{path.name}")
    out = tmp_path / "out"
    arguments = (images, "--out", out, "--ray", cluster.address, "--part-rows", 500)
    driver = start_bulk(*arguments)
    wait_for_parts(driver, out, 2)
    cluster.remove_node(cluster.workers[-1], allow_graceful=False)
    wait_for_parts(driver, out, parts(out) + 2)
    driver.kill()
    driver.communicate()
    written = parts(out)
    done = bulk(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert parts(out) > written
    found = rows(out)
    assert [row["path"] for row in found] == sorted(map(str, images.iterdir()))
    assert all(row["error"] is None for row in found)


def test_cluster_that_does_not_answer_is_an_error(bulk, folder, tmp_path):
    done = bulk(folder, "--out", tmp_path / "out", "--ray", "127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: --ray 127.0.0.1:9: no cluster answers")
