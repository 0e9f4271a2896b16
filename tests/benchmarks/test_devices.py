"""Tests accelerators: a case for each, install hints for missing ones, detected CPU fallbacks."""

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

# A provider of the ordinary wheel that runs no operator of such a model, without any message.
SILENT = driver.Provider("AzureExecutionProvider", (), "no remedy")
SWIFTSHADER = Path("/usr/lib/chromium")  # where Debian's Chromium has its software Vulkan
ONCE = Settings(repetitions=1, min_seconds=0.0, min_count=1, starts=0)


def wrapper(folder: Path, script: str) -> str:
    """Return the path of a Python that is started after `script`, lines of sh."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\n{script}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return os.fspath(python)


@pytest.fixture
def silent(monkeypatch) -> None:
    """Register "silent", a provider that onnxruntime accepts but assigns no operator to."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if SILENT.name not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime is built without {SILENT.name}: pip install onnxruntime")
    monkeypatch.setitem(driver.PROVIDERS, "silent", SILENT)


def test_every_missing_accelerator_is_absent_with_an_install_hint(models, tmp_path) -> None:
    (tmp_path / "digits.onnx").write_bytes((models / "digits.onnx").read_bytes())
    report = latency.measure(tmp_path, ONCE, backends=("onnxruntime",), device="gpu", keras=False)
    absent = {s.case.device: s for s in report.skipped if s.case.artifact == "digits.onnx"}
    assert set(absent) == set(devices("onnxruntime")[1:])
    for device, skipped in absent.items():
        assert skipped.status == ABSENT, skipped
        assert driver.PROVIDERS[device].remedy in skipped.reason


def test_cases_skipped_for_the_same_reason_share_a_line() -> None:
    table = summary_tables.unmeasured_table(
        [
            SkippedCase(BenchmarkCase(name, "onnxruntime", "cuda", 1), ABSENT, "a reason")
            for name in ("a", "b", "a")
        ]
    )
    assert table.lines == (("a, b", "onnxruntime", "cuda", "ABSENT", "a reason"),)


@pytest.mark.parametrize("call", cases.KERAS_CALLS["gpu"][1:])
def test_keras_without_a_gpu_is_absent_with_an_install_hint(models, call: str) -> None:
    case = BenchmarkCase(cases.REFERENCE, call, "gpu", 1)
    response = subprocesses.request_latency(
        LatencyRequest(case, str(models / case.artifact), (), 0.0, 1, 0)
    )
    if not isinstance(response, SkippedCase):
        pytest.skip("this machine has a GPU for Keras")
    assert response.status == ABSENT, response
    assert "pip install" in response.reason


@pytest.mark.parametrize("name", ["digits.onnx", "digits-int8.onnx"])
def test_provider_that_runs_no_operator_is_detected(models, silent, name: str) -> None:
    with pytest.raises(CpuFallbackError, match="computes on the CPU"):
        open_backend(artifact.read(models / name), "onnxruntime", device="silent")


def test_provider_that_onnxruntime_drops_is_detected(models, monkeypatch) -> None:
    """If a library is missing, a provider is listed but dropped when the session is created."""
    onnxruntime = pytest.importorskip("onnxruntime")
    providers = onnxruntime.get_available_providers()
    if "ROCMExecutionProvider" in providers:
        pytest.skip("this onnxruntime has ROCm")
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["ROCMExecutionProvider", *providers]
    )
    opened = artifact.read(models / "digits.onnx")
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(CpuFallbackError, match="from ROCMExecutionProvider to CPUExecutionProvider"),
    ):
        open_backend(opened, "onnxruntime", device="rocm")


def test_case_that_falls_back_to_the_cpu_is_invalid(models, silent, tmp_path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from runtime.backends import onnx\n"
        f"onnx.PROVIDERS['silent'] = onnx.Provider({SILENT.name!r}, (), {SILENT.remedy!r})\n"
    )
    python = wrapper(tmp_path, f'export PYTHONPATH="{tmp_path}:$PYTHONPATH"')
    case = BenchmarkCase("digits.onnx", "onnxruntime", "silent", 1)
    job = LatencyRequest(case, str(models / case.artifact), (messages.SINGLE,), 0.0, 1, 0)
    response = subprocesses.request_latency(job, (ExternalPython("onnxruntime", python),))
    assert isinstance(response, SkippedCase), response
    assert response.status == INVALID
    assert "computes on the CPU" in response.reason
    assert summary_tables.unmeasured_table([response]).lines[0][3] == "INVALID"


def test_result_of_a_partial_fallback_to_the_cpu_is_invalid() -> None:
    case = BenchmarkCase("digits.onnx", "onnxruntime", "cuda", 1)
    steady = TimingSeries(messages.SINGLE, 1, 100, 100_000, 1000, (1000,) * 100)
    complete = LatencyResult(case, "1", "float32", "", messages.SINGLE, (steady, steady))
    limits = Settings(repetitions=2, min_seconds=1e-4, min_count=100)
    assert complete.problems(limits) == ()
    partial = dataclasses.replace(complete, fallback="2 of 16 operators run on the CPU")
    assert partial.problems(limits) == ("not all on cuda: 2 of 16 operators run on the CPU",)


@pytest.mark.skipif(
    not (SWIFTSHADER / "libvk_swiftshader.so").exists(),
    reason="no software Vulkan: apt install chromium, which contains SwiftShader",
)
@pytest.mark.parametrize("name", ["digits.tflite", "digits-int8.tflite"])
def test_litert_predicts_on_an_emulated_gpu(models, tmp_path, name) -> None:
    opened = artifact.read(models / name)
    pixels = np.concatenate([opened.spec.golden.pixels] * 3)[:20]
    np.save(tmp_path / "pixels.npy", pixels)
    python = wrapper(
        tmp_path,
        f'export LD_LIBRARY_PATH="{SWIFTSHADER}:$LD_LIBRARY_PATH"\n'
        f'export VK_ICD_FILENAMES="{SWIFTSHADER}/vk_swiftshader_icd.json"',
    )
    case = BenchmarkCase(name, "litert", "gpu", 1)
    files = str(tmp_path / "pixels.npy"), str(tmp_path / "scores.npy")
    response = subprocesses.request_predictions(
        PredictRequest(case, str(opened.path), *files), (ExternalPython("litert", python),)
    )
    assert isinstance(response, PredictResponse), response
    expected = open_backend(opened, "litert").scores(pixels)
    tolerance = 4 / 256 if "int8" in name else 1e-5
    assert np.abs(np.load(tmp_path / "scores.npy") - expected).max() <= tolerance
    assert response.batch_difference <= tolerance


@pytest.mark.parametrize(
    ("name", "engine"), [("digits.onnx", "onnxruntime"), ("digits.tflite", "litert")]
)
def test_unknown_device_is_an_error(models, name: str, engine: str) -> None:
    with pytest.raises(BackendUnavailable, match="has no device abacus: choose"):
        open_backend(artifact.read(models / name), engine, device="abacus")


def test_unknown_way_to_call_keras_is_an_error(models) -> None:
    with pytest.raises(BackendUnavailable, match="no way 'keras torch'"):
        keras_reference.open_artifact(artifact.read(models / "digits.keras"), "keras torch")
