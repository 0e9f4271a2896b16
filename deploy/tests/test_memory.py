"""Test the runtime within 512 MiB: a booted Pi with the memory of a Zero 2 W."""

from pathlib import Path

from deploy.emulation import machine, roots
from deploy.emulation.installed import python, with_engines
from deploy.systems import SYSTEMS
from deploy.wheels import CHECKOUT

(TRIXIE,) = [system for system in SYSTEMS if system.name == "trixie-arm64"]
CPU = "cortex-a53"  # the processor of a Zero 2 W
# Runs the suite with the system's first engine. The verbose output names the test that a boot
# without end was running.
JOB = f"""set -e
python={python(TRIXIE.engines[0])}
$python -m digit_edge selftest
cd /tmp
PYTHONPATH=/pi/pytest $python -m pytest -v --no-header -p no:cacheprovider /pi/engines
"""


def test_selftest_and_conformance_suite_pass_within_512_mib(card: Path, tmp_path: Path) -> None:
    files = {"/pi/job": JOB.encode()}
    for folder, place in (
        (roots.part("pytest"), "pytest"),
        (CHECKOUT / "tests/engines", "engines"),
    ):
        for file in folder.rglob("*.py"):
            files[f"/pi/{place}/{file.relative_to(folder)}"] = file.read_bytes()
    machine.disk(with_engines(TRIXIE, CPU, card), files, tmp_path / "disk")
    console = machine.boot(TRIXIE, CPU, tmp_path / "disk")
    assert "PASS\n" in console, console
    assert " passed" in console, console
    assert "PI-STATUS 0" in console, console
