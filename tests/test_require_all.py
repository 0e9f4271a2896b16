"""DIGIT_EDGE_REQUIRE_ALL turns skips into failures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_skips_itself():
    pytest.skip("no program here")

@pytest.mark.skipif(True, reason="no engine here")
def test_is_marked():
    pass

@pytest.mark.xfail
def test_is_expected_to_fail():
    raise AssertionError

def test_passes():
    pass
"""


@pytest.mark.parametrize(
    ("required", "ended"),
    [("0", "1 passed, 3 skipped, 1 xfailed"), ("1", "1 failed, 1 passed, 1 xfailed, 2 errors")],
)
def test_skipped_tests_and_files_fail_if_all_tests_are_required(tmp_path, required, ended):
    (tmp_path / "test_them.py").write_text(TESTS)
    (tmp_path / "test_whole_file.py").write_text("import pytest\npytest.importorskip('no_such')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["-p", "conftest", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-rA", tmp_path],
        cwd=tmp_path,
        env={
            **os.environ,
            "DIGIT_EDGE_REQUIRE_ALL": required,
            "PYTHONPATH": str(Path(__file__).parent),
        },
        capture_output=True,
        text=True,
    )
    assert ended in done.stdout, done.stdout
    for reason in ("no program here", "no engine here", "could not import 'no_such'"):
        assert reason in done.stdout
    assert done.returncode == int(required)
