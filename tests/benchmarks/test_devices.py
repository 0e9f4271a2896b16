"""Accelerators: a row each, absent ones with their remedy, and none that is the CPU in disguise."""

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness import cases, keras_reference, messages, subprocesses
from benchmarks.harness.cases import ABSENT, INVALID, BenchmarkCase, ExternalPython, SkippedCase
from benchmarks.harness.messages import (
    LatencyRequest,
    PredictRequest,
    PredictResponse,
    TimingSeries,
)
from benchmarks.latency import run as latency
from benchmarks.report import summary_tables
from benchmarks.schema.latency import LatencyResult, Settings
from runtime.backends import CpuFallbackError, devices, open_backend
from runtime.backends import onnx as driver
from runtime.errors import BackendUnavailable
from runtime.model import artifact

# Compiled into the ordinary wheel; it takes no operator of such a model, and says nothing of it.
SILENT = driver.Provider("AzureExecutionProvider", (), "nothing that would help")
SWIFTSHADER = Path("/usr/lib/chromium")
ONCE = Settings(repetitions=1, min_seconds=0.0, min_count=1, starts=0)


def wrapper(folder: Path, script: str) -> str:
    """A Python that runs after `script`, lines of sh."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\n{script}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return os.fspath(python)


@pytest.fixture
def silent(monkeypatch) -> None:
    """Makes a provider known that onnxruntime keeps and gives no operator."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if SILENT.name not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime is built without {SILENT.name}: pip install onnxruntime")
    monkeypatch.setitem(driver.PROVIDERS, "silent", SILENT)


def test_every_accelerator_has_a_row_that_says_how_to_get_it(models, tmp_path) -> None:
    (tmp_path / "digits.onnx").write_bytes((models / "digits.onnx").read_bytes())
    report = latency.measure(tmp_path, ONCE, backends=("onnxruntime",), device="gpu", keras=False)
    absent = {u.case.device: u for u in report.skipped if u.case.artifact == "digits.onnx"}
    assert set(absent) == set(devices("onnxruntime")[1:])
    for device, skipped in absent.items():
        assert skipped.status == ABSENT, skipped
        assert driver.PROVIDERS[device].remedy in skipped.reason


def test_lines_of_the_same_want_are_one() -> None:
    table = summary_tables.unmeasured_table(
        [
            SkippedCase(BenchmarkCase(name, "onnxruntime", "cuda", 1), ABSENT, "why")
            for name in ("a", "b", "a")
        ]
    )
    assert table.lines == (("a, b", "onnxruntime", "cuda", "ABSENT", "why"),)


def test_keras_has_a_row_on_tensorflows_gpu_and_on_jaxs(models, tmp_path) -> None:
    for call in cases.KERAS_CALLS["gpu"][1:]:
        row = BenchmarkCase(cases.REFERENCE, call, "gpu", 1)
        answer = subprocesses.request_latency(
            LatencyRequest(row, str(models / row.artifact), (), 0.0, 1, 0)
        )
        if isinstance(answer, SkippedCase):  # else this machine has one
            assert answer.status == ABSENT and "pip install" in answer.reason, answer


def test_a_provider_that_computes_nothing_is_caught(models, silent) -> None:
    for name in ("digits.onnx", "digits-int8.onnx"):
        with pytest.raises(CpuFallbackError, match="computes on the CPU"):
            open_backend(artifact.read(models / name), "onnxruntime", device="silent")


def test_a_provider_that_is_dropped_is_caught(models, monkeypatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    known = onnxruntime.get_available_providers()
    if "ROCMExecutionProvider" in known:
        pytest.skip("this onnxruntime really has ROCm")
    # As where a library is missing: named, asked for, and dropped when the session is made.
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["ROCMExecutionProvider", *known]
    )
    opened = artifact.read(models / "digits.onnx")
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(CpuFallbackError, match="from ROCMExecutionProvider to CPUExecutionProvider"),
    ):
        open_backend(opened, "onnxruntime", device="rocm")


def test_a_row_that_falls_back_is_marked_invalid(models, silent, tmp_path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from runtime.backends import onnx\n"
        f"onnx.PROVIDERS['silent'] = onnx.Provider({SILENT.name!r}, (), {SILENT.remedy!r})\n"
    )
    python = wrapper(tmp_path, f'export PYTHONPATH="{tmp_path}:$PYTHONPATH"')
    row = BenchmarkCase("digits.onnx", "onnxruntime", "silent", 1)
    job = LatencyRequest(row, str(models / row.artifact), (messages.SINGLE,), 0.0, 1, 0)
    answer = subprocesses.request_latency(job, (ExternalPython("onnxruntime", python),))
    assert isinstance(answer, SkippedCase) and answer.status == INVALID, answer
    assert "computes on the CPU" in answer.reason
    assert summary_tables.unmeasured_table([answer]).lines[0][3] == "INVALID"


def test_a_row_that_falls_back_in_part_is_invalid() -> None:
    row = BenchmarkCase("digits.onnx", "onnxruntime", "cuda", 1)
    steady = TimingSeries(messages.SINGLE, 1, 100, 100_000, 1000, (1000,) * 100)
    whole = LatencyResult(row, "1", "float32", "", messages.SINGLE, (steady, steady))
    limits = Settings(repetitions=2, min_seconds=1e-4, min_count=100)
    assert whole.problems(limits) == ()
    partly = dataclasses.replace(whole, fallback="2 of 16 operators run on the CPU")
    assert partly.problems(limits) == ("not all on cuda: 2 of 16 operators run on the CPU",)


@pytest.mark.skipif(
    not (SWIFTSHADER / "libvk_swiftshader.so").exists(),
    reason="no Vulkan without a graphics card: apt install chromium brings SwiftShader",
)
@pytest.mark.parametrize("name", ["digits.tflite", "digits-int8.tflite"])
def test_litert_answers_on_a_gpu_that_is_emulated(models, tmp_path, name) -> None:
    opened = artifact.read(models / name)
    pixels = np.concatenate([opened.spec.golden.pixels] * 3)[:20]
    np.save(tmp_path / "pixels.npy", pixels)
    python = wrapper(
        tmp_path,
        f'export LD_LIBRARY_PATH="{SWIFTSHADER}:$LD_LIBRARY_PATH"\n'
        f'export VK_ICD_FILENAMES="{SWIFTSHADER}/vk_swiftshader_icd.json"',
    )
    row = BenchmarkCase(name, "litert", "gpu", 1)
    files = str(tmp_path / "pixels.npy"), str(tmp_path / "scores.npy")
    answer = subprocesses.request_predictions(
        PredictRequest(row, str(opened.path), *files), (ExternalPython("litert", python),)
    )
    assert isinstance(answer, PredictResponse), answer
    expected = open_backend(opened, "litert").scores(pixels)
    tolerance = 4 / 256 if "int8" in name else 1e-5
    assert np.abs(np.load(tmp_path / "scores.npy") - expected).max() <= tolerance
    assert answer.batch_difference <= tolerance


def test_no_engine_takes_a_device_that_it_does_not_know(models) -> None:
    for name, engine in (("digits.onnx", "onnxruntime"), ("digits.tflite", "litert")):
        with pytest.raises(BackendUnavailable, match="has no device abacus: choose"):
            open_backend(artifact.read(models / name), engine, device="abacus")
    with pytest.raises(BackendUnavailable, match="no way 'keras torch'"):
        keras_reference.open_artifact(artifact.read(models / "digits.keras"), "keras torch")
