"""Tests of the engine native: the cache of libraries, the compiler, and each instruction set.

Tests of the Arm instructions need a cross compiler and QEMU.
"""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import runtime
from export.c.source import write_c
from runtime import Classifier
from runtime.backends import native, open_backend
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model import artifact
from runtime.preprocess.form import PHOTO

PUBLISHED = Path(runtime.__file__).parent / "pretrained/digits-int8.c"
KERNELS = Path(native.__file__).parent / "kernels"
# Cross compiler, QEMU's program, and processors of the instruction sets.
ARM = [
    ("aarch64-linux-gnu-gcc", "qemu-aarch64", {"neon": "cortex-a53", "neon-dotprod": "max"}),
    ("arm-linux-gnueabi-gcc", "qemu-arm", {"smlad": "arm1176", "portable": "arm1176"}),
]
# Calls the functions that the runtime calls; arguments: instruction set, images, scores.
PROGRAM = r"""
#include <stdint.h>
#include <stdio.h>
const char *digit_edge_choose(const char *limit);
void digit_edge_classify(const uint8_t *pixels, int count, float *scores, int *labels);
int main(int count, char **arguments)
{
    static uint8_t pixels[784];
    float scores[10];
    FILE *images = fopen(arguments[2], "rb"), *results = fopen(arguments[3], "wb");
    if (count != 4 || digit_edge_choose(arguments[1]) == NULL) {
        return 1;
    }
    while (fread(pixels, 1, sizeof pixels, images) == sizeof pixels) {
        digit_edge_classify(pixels, 1, scores, NULL);
        fwrite(scores, 1, sizeof scores, results);
    }
    return fclose(results);
}
"""
# Compares neon_store_four with neon_store for random sums, scales, zero points and limits.
STORES = r"""
#include MODEL
int main(void)
{
    float scales[16];
    int32_t sums[16];
    uint8_t one[16], four[16];
    unsigned random = 1;
    int n, i;
    for (n = 0; n < 100000; n++) {
        const int zero = n % 256, least = n % 3 ? 0 : n % 7 * 20, most = n % 5 ? 255 : 150 + n % 9;
        const struct matrix matrix = {.scales = scales, .least = least - zero, .most = most - zero,
                                      .zero = zero};
        int32x4_t registers[4];
        for (i = 0; i < 16; i++) {
            random = random * 1664525u + 1013904223u;
            sums[i] = (int32_t)random >> random % 32;
            scales[i] = (float)(1 + random % 1000) / (float)(1u << random % 24);
        }
        for (i = 0; i < 4; i++) {
            registers[i] = vld1q_s32(sums + 4 * i);
            neon_store(&matrix, i, registers[i], one + 4 * i);
        }
        neon_store_four(&matrix, 0, registers, four);
        if (memcmp(one, four, 16) != 0) {
            return 1;
        }
    }
    return 0;
}
"""

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler cc")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keep compiled libraries in a folder of this test run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def images():
    """Return pixels, uint8 (200, 28, 28, 1): golden images, strokes of them, noise, extremes."""
    random = np.random.default_rng(8)
    golden = artifact.read(PUBLISHED).spec.golden.pixels
    mixed = golden[random.integers(0, len(golden), 150)]
    mixed = np.maximum(mixed, np.roll(golden[random.integers(0, len(golden), 150)], 3, axis=2))
    noise = random.integers(0, 256, (48, 28, 28, 1), dtype=np.uint8)
    extremes = np.stack([np.zeros((28, 28, 1), np.uint8), np.full((28, 28, 1), 255, np.uint8)])
    return np.concatenate([mixed, noise, extremes])


@pytest.fixture(scope="module")
def expected(images):
    """Return LiteRT's scores of `images`."""
    return open_backend(artifact.read(PUBLISHED.with_suffix(".tflite")), "litert").scores(images)


@pytest.fixture
def changed(tmp_path):
    """Return a function that writes the published model with a changed text to a new file."""

    def write(old: str, new: str) -> Path:
        opened = artifact.read(PUBLISHED)
        code = opened.data.partition(b"\n/* model_spec.json")[0].decode()
        assert old in code
        path = tmp_path / "changed.c"
        artifact.write(path, code.replace(old, new).encode(), opened.spec)
        return path

    return write


@pytest.mark.parametrize("name", native.INSTRUCTION_SETS)
def test_each_instruction_set_gives_litert_s_scores_bit_by_bit(name, images, expected) -> None:
    backend = open_backend(artifact.read(PUBLISHED))
    assert isinstance(backend, native.NativeBackend)
    try:
        if backend.choose_instructions(name) is None:
            return  # this processor lacks the instructions
        np.testing.assert_array_equal(backend.scores(images), expected)
    finally:
        backend.choose_instructions(None)


@pytest.mark.parametrize(("compiler", "emulator", "processors"), ARM)
def test_arm_instructions_give_litert_s_scores_bit_by_bit(
    compiler, emulator, processors, images, expected, tmp_path
) -> None:
    emulator = shutil.which(f"{emulator}-static") or shutil.which(emulator)
    if shutil.which(compiler) is None or emulator is None:
        pytest.skip(f"{compiler} or QEMU is missing")
    (tmp_path / "program.c").write_text(PROGRAM)
    images.tofile(tmp_path / "images")
    options = ["-O3", "-static", "-w", f"-I{KERNELS}", "-DDIGIT_EDGE_KERNELS=<kernels.h>"]
    subprocess.run(
        [compiler, *options, "program.c", PUBLISHED, "-o", "program"], cwd=tmp_path, check=True
    )
    for name, processor in processors.items():
        subprocess.run(
            [emulator, "-cpu", processor, "./program", name, "images", "scores"],
            cwd=tmp_path,
            check=True,
        )
        scores = np.fromfile(tmp_path / "scores", np.float32).reshape(expected.shape)
        np.testing.assert_array_equal(scores, expected, err_msg=name)


def test_neon_requantizes_four_registers_as_one(tmp_path) -> None:
    compiler, emulator, _ = ARM[0]
    emulator = shutil.which(f"{emulator}-static") or shutil.which(emulator)
    if shutil.which(compiler) is None or emulator is None:
        pytest.skip(f"{compiler} or QEMU is missing")
    (tmp_path / "stores.c").write_text(STORES)
    options = ["-O1", "-static", "-w", f"-I{KERNELS}", "-DDIGIT_EDGE_KERNELS=<kernels.h>"]
    command = [compiler, *options, f'-DMODEL="{PUBLISHED}"', "stores.c", "-o", "stores"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([emulator, "-cpu", "cortex-a53", "./stores"], cwd=tmp_path, check=True)


def test_vector_code_compiles_without_warnings(tmp_path) -> None:
    command = ["cc", "-O1", "-c", "-Wall", "-Wextra", "-Werror", f"-I{KERNELS}"]
    subprocess.run(
        [*command, "-DDIGIT_EDGE_KERNELS=<kernels.h>", PUBLISHED, "-o", tmp_path / "model.o"],
        check=True,
    )


def test_vector_code_reads_and_writes_only_its_own_memory(images, tmp_path) -> None:
    (tmp_path / "program.c").write_text(PROGRAM)
    images[:5].tofile(tmp_path / "images")
    options = ["-O1", "-g", "-w", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    options += [f"-I{KERNELS}", "-DDIGIT_EDGE_KERNELS=<kernels.h>"]
    subprocess.run(
        ["cc", *options, "program.c", PUBLISHED, "-o", "program"],
        cwd=tmp_path,
        check=True,
    )
    for name in native.INSTRUCTION_SETS:
        done = subprocess.run(
            ["./program", name, "images", "scores"], cwd=tmp_path, capture_output=True, text=True
        )
        assert "runtime error" not in done.stderr
        assert "Sanitizer" not in done.stderr
        assert done.returncode in (0, 1)  # 1: this processor lacks the instructions


def test_label_confidence_and_rejection_equal_litert_s(images) -> None:
    """One image and batches of more than one call of the library, bit by bit."""
    ours = Classifier.load(PUBLISHED)
    theirs = Classifier.load(PUBLISHED.with_suffix(".tflite"))
    expected = [theirs.classify(image) for image in images]
    assert 0.1 < np.mean([p.accepted for p in expected]) < 0.9
    for found in ([ours.classify(image) for image in images], ours.classify_batch(list(images))):
        assert [(p.label, p.confidence, p.accepted) for p in found] == [
            (p.label, p.confidence, p.accepted) for p in expected
        ]
        np.testing.assert_array_equal([p.scores for p in found], [p.scores for p in expected])


def test_one_call_of_the_library_rejects(images, monkeypatch) -> None:
    """Python's rejection score is not computed for an array of pixels."""
    classifier = Classifier.load(PUBLISHED)
    monkeypatch.delattr(classifier, "_scorer")
    first = classifier.classify(images[0])
    kept = first.scores.copy()
    assert len(classifier.classify_batch(list(images))) == len(images)
    np.testing.assert_array_equal(first.scores, kept)


def test_blank_photograph_is_not_rejected(tmp_path) -> None:
    """It may be a class, such as the clear sky."""
    opened = artifact.read(PUBLISHED.with_suffix(".tflite"))
    spec = dataclasses.replace(
        opened.spec, form=PHOTO, rejection_model=None, confidence_threshold=0
    )
    source = write_c(dataclasses.replace(opened, spec=spec))
    artifact.write(tmp_path / "sky.c", source.code.encode(), spec)
    sky = np.full((28, 28, 1), 255, np.uint8)
    assert Classifier.load(tmp_path / "sky.c").classify(sky).accepted
    assert not Classifier.load(PUBLISHED).classify(sky).accepted


def test_library_is_compiled_once(monkeypatch) -> None:
    Classifier.load(PUBLISHED)
    monkeypatch.setenv("PATH", "")
    assert Classifier.load(PUBLISHED).classify(np.zeros((28, 28), np.uint8)).label


def test_library_of_the_installer_is_used_if_the_cache_cannot_be_written(
    tmp_path, monkeypatch
) -> None:
    """As by a service on a Raspberry Pi, which also has no compiler."""
    opened = artifact.read(PUBLISHED)
    open_backend(opened)
    cache = native._cache_folder()
    assert cache is not None
    monkeypatch.setattr(native, "_INSTALLED", cache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PATH", "")
    open_backend(opened)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / f"{native._key(opened)}.so").write_bytes(b"half a library")
    monkeypatch.setattr(native, "_INSTALLED", tmp_path / "damaged")
    with pytest.raises(BackendUnavailable, match="needs a C compiler"):
        open_backend(opened)


def test_missing_compiler_is_one_clear_line(tmp_path) -> None:
    environment = os.environ | {"PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "--model", PUBLISHED, "examples/scan.png"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "install a C compiler" in line


def test_library_in_a_folder_that_others_can_write_is_not_loaded(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "digit-edge/native"
    folder.mkdir(parents=True)
    folder.chmod(0o770)
    opened = artifact.read(PUBLISHED)
    (folder / f"{native._key(opened)}.so").write_bytes(b"a library of somebody else")
    open_backend(opened)


def test_cache_that_cannot_be_written_is_not_used(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert native._cache_folder() is None


def test_damaged_library_in_the_cache_is_compiled_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "digit-edge/native"
    folder.mkdir(parents=True, mode=0o700)
    opened = artifact.read(PUBLISHED)
    (folder / f"{native._key(opened)}.so").write_bytes(b"half a library")
    open_backend(opened)


def test_model_that_does_not_compile_is_rejected(changed) -> None:
    with pytest.raises(ArtifactError, match=r"cannot compile .*changed\.c"):
        open_backend(artifact.read(changed("int digits_selftest(", "int 7 digits_selftest(")))


def test_model_of_another_size_than_its_spec_says_is_rejected(changed) -> None:
    path = changed("#define DIGITS_CLASSES 10", "#define DIGITS_CLASSES 11")
    with pytest.raises(ArtifactError, match=r"returns 11 scores, but its spec says .* 10"):
        open_backend(artifact.read(path))


def test_changed_byte_is_rejected_before_the_compiler_sees_it(tmp_path) -> None:
    data = bytearray(PUBLISHED.read_bytes())
    data[5000] ^= 1
    path = tmp_path / "damaged.c"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="damaged"):
        Classifier.load(path)


@pytest.mark.parametrize("label", ["*/", "/*", "??/", "\\", '"', "日本"])
def test_spec_with_any_label_fits_into_a_comment(label, tmp_path) -> None:
    opened = artifact.read(PUBLISHED)
    spec = dataclasses.replace(opened.spec, labels=(*opened.spec.labels[:9], label))
    code = opened.data.partition(b"\n/* model_spec.json")[0]
    written = artifact.write(tmp_path / "model.c", code, spec)
    assert written.spec.labels[9] == label
    subprocess.run(["cc", "-fsyntax-only", "-Wall", "-Werror", tmp_path / "model.c"], check=True)


def test_another_device_than_the_cpu_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match="choose cpu"):
        open_backend(artifact.read(PUBLISHED), device="gpu")
