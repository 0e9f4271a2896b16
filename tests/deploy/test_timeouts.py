"""Test the limits of time of `make pi` and `make mcu`: one line names what did not end.

Shell scripts stand in for QEMU, which the environment of the tests does not contain. The command of
an emulated Pi is tested in deploy/tests.
"""

import pytest

from deploy.emulation import machine
from deploy.mcu.toolchain import Toolchain
from deploy.systems import SYSTEMS
from runtime.errors import EdgeError

TRIXIE = SYSTEMS[1]
TIMEOUT_S = 0.5


def boot(monkeypatch, tmp_path, script):
    """Boot with a script in place of QEMU; return the error message."""
    monkeypatch.setattr(machine, "_emulator", lambda program: ["sh", "-c", script])
    with pytest.raises(EdgeError) as caught:
        machine.boot(TRIXIE, "cortex-a53", tmp_path / "disk")
    return str(caught.value)


def test_endless_boot_is_killed_and_names_system_and_processor(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_TIMEOUT_S", TIMEOUT_S)
    message = boot(monkeypatch, tmp_path, "exec sleep 600")
    assert message == (
        "trixie-arm64 on cortex-a53: the emulated Pi did not power off within 0.5 s; "
        "last lines of its console: none"
    )


def test_failed_boot_quotes_the_last_lines_of_the_console_in_one_line(monkeypatch, tmp_path):
    script = "for line in 1 2 3 4 5 '' 6; do printf 'line %s\\r\\n' $line; done; printf end; exit 4"
    assert boot(monkeypatch, tmp_path, script) == (
        "trixie-arm64 on cortex-a53: QEMU ended with status 4; "
        "last lines of its console: line 4 | line 5 | line | line 6 | end"
    )


def test_endless_program_of_make_mcu_is_killed_and_named(tmp_path):
    with pytest.raises(EdgeError, match=r"^sleep 600: did not end within 0.5 s$"):
        Toolchain(None, tmp_path).run(["sleep", "600"], TIMEOUT_S)
