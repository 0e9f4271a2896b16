"""The model on an emulated microcontroller, and the comparison with the baseline."""

import dataclasses
import shutil

import numpy as np
import pytest

from deploy.mcu import measure, table, toolchain
from deploy.mcu.table import Row
from deploy.mcu.targets import OPTIMIZATIONS, TARGETS
from deploy.mcu.toolchain import Toolchain
from runtime.errors import EdgeError

ROW = Row("cortex-m4", "-O2", 1000, 1000, 0, 10_000_000, 300, 4224, 75_000, 83_000)


@pytest.fixture(scope="module")
def root():
    """The root of the toolchain: None if the programs are installed on this machine."""
    if all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))):
        return None
    if (toolchain.CACHE / "root.json").exists():
        return toolchain.CACHE / "root"
    pytest.skip("no compiler and QEMU for Cortex-M here: make mcu, or apt install "
                "gcc-arm-none-eabi qemu-system-arm")  # fmt: skip


def test_a_cortex_m_answers_as_litert(root, tmp_path):
    wanted = measure.expected()
    few = dataclasses.replace(wanted, pixels=wanted.pixels[:20], answers=wanted.answers[:20])
    measure.write_sources(tmp_path)
    (target,) = [each for each in TARGETS if each.name == "cortex-m4"]
    row = measure.on_target(target, "-O2", Toolchain(root, tmp_path), tmp_path, few)
    assert (row.images, row.equal, row.selftest) == (20, 20, 0)
    (before,) = [each for each in table.read() if each.name == row.name]
    assert abs(row.instructions / before.instructions - 1) < 0.05
    assert row.workspace_bytes == before.workspace_bytes == 4224
    assert 100 < row.stack_bytes < 1000
    assert 70_000 < row.flash_bytes < row.flash_with_selftest_bytes < 90_000


def test_a_frame_with_other_pixels_is_an_error(root, tmp_path):
    wanted = measure.expected()
    wrong = dataclasses.replace(wanted, frame_pixels=wanted.frame_pixels ^ np.uint8(1))
    measure.write_sources(tmp_path)
    (target,) = [each for each in TARGETS if each.name == "cortex-m3"]
    with pytest.raises(EdgeError, match="cortex-m3 -Os: digits_preprocess converts a frame to"):
        measure.on_target(target, "-Os", Toolchain(root, tmp_path), tmp_path, wrong)


def test_a_program_that_fails_is_reported_with_what_it_printed(root, tmp_path):
    (tmp_path / "wrong.c").write_text("int main(void) { return missing; }\n")
    with pytest.raises(EdgeError, match="missing"):
        Toolchain(root, tmp_path).run(["arm-none-eabi-gcc", "-c", "wrong.c"])


def test_the_committed_baseline_has_every_target_and_equals_litert():
    rows = table.read()
    assert {(row.target, row.optimization) for row in rows[1:]} == {
        (target.name, option) for target in TARGETS for option in OPTIMIZATIONS
    }
    assert table.failures(rows) == []
    assert table.BASELINE.with_suffix(".md").read_text() == table.markdown(rows)


@pytest.mark.parametrize(
    "figure", ["instructions", "stack_bytes", "workspace_bytes", "flash_bytes"]
)
def test_more_than_two_percent_worse_is_reported(figure):
    worse = dataclasses.replace(ROW, **{figure: int(getattr(ROW, figure) * 1.03)})
    (line,) = table.compare([worse], [ROW])
    assert line.startswith("cortex-m4 -O2: ")
    same = dataclasses.replace(ROW, **{figure: int(getattr(ROW, figure) * 1.01)})
    assert table.compare([same], [ROW]) == []


def test_a_missing_target_is_reported():
    assert table.compare([], [ROW]) == ["cortex-m4 -O2: in the baseline, but not measured now"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"equal": 999}, "1 of 1000 images differ from LiteRT"),
        ({"selftest": 255}, "the self-test returned 255"),
        ({"images": 0, "equal": 0}, "0 of 0 images differ from LiteRT"),
    ],
)
def test_a_wrong_answer_is_a_failure(change, said):
    assert table.failures([ROW]) == []
    assert table.failures([dataclasses.replace(ROW, **change)]) == [f"cortex-m4 -O2: {said}"]


def test_a_damaged_baseline_is_one_line(tmp_path):
    (tmp_path / "mcu.json").write_text('{"schema_version": 1, "rows": [{"target": "x"}]}')
    with pytest.raises(EdgeError, match=r"mcu\.json is not a baseline.*python -m deploy\.mcu"):
        table.read(tmp_path / "mcu.json")


def test_the_host_is_measured_with_both_sanitizers(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here: apt install gcc")
    wanted = measure.expected()
    measure.write_sources(tmp_path)
    few = dataclasses.replace(wanted, pixels=wanted.pixels[:50], answers=wanted.answers[:50])
    row = measure.on_host(tmp_path, few)
    assert (row.images, row.equal, row.selftest) == (50, 50, 0)
    changed = dataclasses.replace(few, answers=few.answers ^ np.uint8(1))
    row = measure.on_host(tmp_path, changed)
    assert (row.images, row.equal) == (50, 0)
