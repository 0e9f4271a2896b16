"""SOURCE and the output may be on S3; the server is moto's."""

import pyarrow.fs
import pyarrow.parquet
import pytest

moto_server = pytest.importorskip("moto.server", reason='needs moto: pip install "moto[s3,server]"')


@pytest.fixture(scope="module")
def s3():
    """An S3 server with the bucket `scans`; the environment leads the command to it."""
    patch = pytest.MonkeyPatch()
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(name, value)
    system = pyarrow.fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True)
    system.create_dir("scans")
    yield system
    server.stop()
    patch.undo()


@pytest.fixture(scope="module")
def images(s3, folder):
    """Upload the images of `folder` to `s3://scans/in`."""
    for path in folder.rglob("*.*g"):
        with s3.open_output_stream(f"scans/in/{path.relative_to(folder)}") as file:
            file.write(path.read_bytes())
    return "s3://scans/in"


def read(s3, path):
    table = pyarrow.parquet.read_table(path, filesystem=s3)
    return sorted(table.to_pylist(), key=lambda row: row["path"])


def without_folder(rows, folder):
    return [
        {**row, "path": row["path"].removeprefix(folder), "error": row["error"] is not None}
        for row in rows
    ]


def test_rows_are_those_of_local_files_and_the_run_is_resumed(
    bulk, rows, s3, images, folder, tmp_path
):
    assert bulk(folder, "--out", tmp_path / "out").returncode == 0
    arguments = (images, "--out", "s3://scans/out", "--part-rows", 100, "--jobs", 2)
    done = bulk(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    expected = without_folder(rows(tmp_path / "out"), f"{folder}/")
    assert without_folder(read(s3, "scans/out"), "s3://scans/in/") == expected
    s3.delete_file("scans/out/part-00001-of-00001-0000001.parquet")
    s3.delete_file("scans/in/0/003.png")
    done = bulk(*arguments, "--resume")
    assert (done.returncode, done.stderr) == (0, "202 of 302 images were done before\n")
    assert len(read(s3, "scans/out")) == 302
    assert bulk(*arguments, "--resume", "--read").returncode == 2


def test_pattern_list_and_parquet_are_found_on_s3(bulk, s3, images, huggingface):
    pattern = bulk("s3://scans/in/**/00[4-6].png", "--out", "s3://scans/pattern")
    assert pattern.stdout.startswith("s3://scans/pattern: 3 images"), pattern.stderr
    with s3.open_output_stream("scans/data/train.parquet") as file:
        file.write(huggingface(count=20).read_bytes())
    with s3.open_output_stream("scans/list.txt") as file:
        file.write(b"s3://scans/in/0/000.png\ns3://scans/in/gone.png\n" * 2)
        file.write(b"s3://scans/data/train.parquet\n")
    done = bulk("s3://scans/list.txt", "--out", "s3://scans/from-list")
    assert done.stdout.startswith("s3://scans/from-list: 22 images"), done.stderr
    rows = read(s3, "scans/from-list")
    assert [row["path"] for row in rows if row["error"]] == ["s3://scans/in/gone.png"]


def test_missing_prefix_and_bucket_are_errors(bulk, s3):
    done = bulk("s3://scans/nothing", "--out", "s3://scans/none")
    assert done.returncode == 2
    assert done.stderr == "error: s3://scans/nothing: no such file or folder; check the path\n"
    done = bulk("s3://no-bucket/nothing", "--out", "s3://scans/none2")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_server_that_does_not_answer_ends_the_run(bulk, s3, monkeypatch, tmp_path, folder):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    done = bulk("s3://scans/in", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: s3://scans/in: ")
    assert "check the network and the credentials" in done.stderr
    assert done.stderr.count("\n") == 1
