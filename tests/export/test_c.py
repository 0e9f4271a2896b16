"""Tests of `digit-edge export-c`: compile the C code on this machine and compare it with LiteRT.

Tests with TensorFlow Lite Micro (TFLM) are skipped if the package tflite-micro is missing.
"""

import dataclasses
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

import runtime
from export.c import boards, tflm, write
from export.c.__main__ import main as export_c
from export.c.check import STRICT, classify, compile_program
from export.c.network import read_network
from export.c.source import identifier, write_c
from runtime import Classifier
from runtime.backends import open_backend
from runtime.errors import ArtifactError, BackendUnavailable, ParityError
from runtime.model import artifact
from runtime.model.spec import GoldenOutputs
from runtime.preprocess.pipeline import preprocess
from tests.export.conftest import layers_of, patches

PRETRAINED = Path(runtime.__file__).parent / "pretrained"
PUBLISHED = PRETRAINED / "digits-int8.tflite"
KERNELS = Path(runtime.__file__).parent / "backends/kernels"
SANITIZED = (*STRICT, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CC = shutil.which("cc")
pytestmark = pytest.mark.skipif(CC is None, reason="the C compiler cc is missing: apt install gcc")


def selftest(program: Path) -> int:
    """Run a program without images; return its exit status, the self-test's result as a byte."""
    return subprocess.run([program], input=b"", capture_output=True).returncode


@pytest.fixture(scope="module")
def published():
    """Return the published int8 artifact."""
    return artifact.read(PUBLISHED)


@pytest.fixture(scope="module")
def strokes():
    """Return pixels, uint8 (300, 28, 28, 1): random pen strokes, noise, and a blank image."""
    random = np.random.default_rng(5)
    images = []
    for number in range(300):
        page = Image.new("L", (112, 112))
        points = random.normal(56, 22, (random.integers(2, 7), 2)).clip(16, 96)
        width = int(random.integers(4, 18))
        ImageDraw.Draw(page).line([*map(tuple, points.tolist())], 255, width, "curve")
        page = page.filter(ImageFilter.GaussianBlur(random.uniform(0, 4)))
        ink = np.asarray(page.resize((28, 28), Image.Resampling.BOX))
        if number % 6 == 0:
            ink = random.integers(0, 256, (28, 28), dtype=np.uint8) // random.integers(1, 9)
        images.append(ink)
    images[1] = np.full((28, 28), 9)
    return np.stack(images).astype(np.uint8)[..., np.newaxis]


def test_scores_labels_and_rejections_equal_litert(published, strokes, tmp_path):
    program = compile_program(write_c(published), tmp_path, SANITIZED)
    found = classify(program, strokes, 10)
    classifier = Classifier(open_backend(published, "litert"))
    np.testing.assert_array_equal(found["scores"], classifier.scores(strokes))
    predictions = [classifier.classify(image) for image in strokes]
    assert [published.spec.labels[n] for n in found["label"]] == [p.label for p in predictions]
    assert found["accepted"].tolist() == [p.accepted for p in predictions]
    assert 0.05 < found["accepted"].mean() < 0.95


@pytest.mark.parametrize("case", ["depthwise", "strided", "padded"])
def test_every_layer_and_other_input_sizes_equal_litert(small, tmp_path, case):
    made = small(f"Any-{case}", *layers_of(case))
    program = compile_program(write_c(made), tmp_path, SANITIZED)
    pixels = patches(made.spec.input_shape, 500)
    pixels[0] = 7
    expected = open_backend(made, "litert").scores(pixels)
    assert len(np.unique(expected, axis=0)) > 100
    found = classify(program, pixels, 4)
    np.testing.assert_array_equal(found["scores"], expected)
    blank = np.arange(500) == 0
    np.testing.assert_array_equal(found["accepted"], (expected.max(axis=1) >= 0.4) & ~blank)


def test_unsupported_layer_is_rejected_with_its_name_and_type(small):
    from keras import layers

    made = small("odd", (12, 12, 1), [layers.Conv2D(4, 3, activation="sigmoid"), layers.Flatten()])
    with pytest.raises(ArtifactError, match=r"odd\.tflite: layer \S+ is a LOGISTIC, which"):
        write_c(made)


def test_dilated_convolution_is_rejected(small):
    from keras import layers

    made = small("dilated", (12, 12, 1), [layers.Conv2D(4, 3, dilation_rate=2), layers.Flatten()])
    with pytest.raises(ArtifactError, match=r"dilated|BATCH"):
        write_c(made)


@pytest.mark.parametrize("name", ["digits.tflite", "digits-int8.onnx"])
def test_artifact_that_is_not_int8_tflite_is_rejected_in_one_line(name, tmp_path):
    command = [sys.executable, "-m", "export.c", "--model", PRETRAINED / name, "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"error: .*export-c needs an int8 \.tflite artifact; create .*\n", done.stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_command_writes_the_code_of_write_c(published, tmp_path):
    command = [sys.executable, "-m", "export.c", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4,224 bytes of workspace" in done.stdout
    source = write_c(published)
    assert (tmp_path / "digits.c").read_text().startswith(source.code)
    assert (tmp_path / "digits.h").read_text() == source.header
    assert f'#define DIGITS_DIGEST "{published.spec.digest}"' in source.header


def test_public_names_start_with_the_name_of_the_model(published, tmp_path):
    spec = dataclasses.replace(published.spec, name="Meter digits 7")
    source = write_c(dataclasses.replace(published, spec=spec))
    assert source.name == "meter_digits_7" == identifier("Meter digits 7")
    assert selftest(compile_program(source, tmp_path)) == 0
    assert not re.search(r"\bdigits_|DIGITS_(?!7)", source.code + source.header)


def test_public_names_of_a_model_of_any_name_are_no_other_names_of_the_code(published):
    source = write_c(published)
    texts = [text for layout in write.LAYOUTS for text in write.files_of(source, layout).values()]
    texts += [path.read_text() for path in KERNELS.glob("*.h")]
    files = {Path(name).name for layout in write.LAYOUTS for name in write.files_of(source, layout)}
    public = re.findall(r"(?<!struct )\bdigits(_\w+)", source.header, flags=re.I)
    used = {name for text in texts for name in re.findall(r"\w+", text)}
    taken = {name.removesuffix(end) for end in public for name in used if name.endswith(end)}
    taken |= {Path(name).stem for name in files}
    assert "digit_edge" in taken
    others = [name for name in taken if name and not name.startswith("digits")]
    assert [name for name in others if identifier(name) == name] == []


def test_labels_are_utf8_and_escaped(small, tmp_path):
    made = small("letters", (8, 8, 1), layers_of("depthwise")[1][-1:])
    labels = ("ä", 'quote " \\', "??/", "中文")
    spec = dataclasses.replace(made.spec, labels=labels)
    source = write_c(dataclasses.replace(made, spec=spec))
    (tmp_path / "letters.h").write_text(source.header)
    (tmp_path / "letters.c").write_text(source.code)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "letters.h"\n'
        "int main(void) { int n; for (n = 0; n < LETTERS_CLASSES; n++) puts(letters_labels[n]); }\n"
    )
    command = [CC, *STRICT, "main.c", "letters.c", "-o", "program"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "program"], capture_output=True)
    assert done.stdout.decode().splitlines() == list(labels)


@pytest.mark.parametrize("array", ["hidden_weights", "scores_biases", "conv3_scales"])
def test_selftest_fails_if_a_parameter_changed(published, tmp_path, array):
    source = write_c(published)
    pattern = rf"( {array}\[\d+\] = {{\n(?:.*\n)?.*?)(-?[0-9][0-9A-Fx]*),"
    changed = re.sub(pattern, lambda found: f"{found[1]}({found[2]}) ^ 1,", source.code, count=1)
    assert changed != source.code
    assert selftest(compile_program(dataclasses.replace(source, code=changed), tmp_path)) == 0xFF


def test_selftest_returns_the_number_of_the_golden_image_that_differs(published, tmp_path):
    golden = published.spec.golden
    scores = golden.scores.copy()
    scores[2, 4] = np.nextafter(scores[2, 4], np.float32(1))
    spec = dataclasses.replace(published.spec, golden=GoldenOutputs(golden.pixels, scores))
    source = write_c(dataclasses.replace(published, spec=spec))
    assert selftest(compile_program(source, tmp_path)) == 3


def test_code_needs_no_library_and_no_global_variables(published, tmp_path):
    compile_program(write_c(published), tmp_path, STRICT)
    options = ("-std=c99", "-O2", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-c")
    subprocess.run([CC, *options, "digits.c"], cwd=tmp_path, check=True)
    done = subprocess.run(["nm", "digits.o"], cwd=tmp_path, capture_output=True, text=True)
    symbols = {tuple(line.split()[-2:]) for line in done.stdout.splitlines()}
    # GCC generates calls of memset. Every C environment provides memset.
    assert {kind for kind, _ in symbols - {("U", "memset")}} <= set("TtRr"), done.stdout


@pytest.mark.parametrize("options", [("-std=gnu99", "-O3", "-march=native"), ("-Os", "-m32")])
def test_selftest_passes_with_other_compiler_options(published, tmp_path, options):
    source = write_c(published)
    if "-m32" in options:
        (tmp_path / "empty.c").write_text("int main(void) { return 0; }\n")
        done = subprocess.run([CC, "-m32", "empty.c"], cwd=tmp_path, capture_output=True)
        if done.returncode:
            pytest.skip("the compiler cannot build 32-bit programs: apt install gcc-multilib")
        options = (*options, "-msse2", "-mfpmath=sse")
    assert selftest(compile_program(source, tmp_path, tuple(options))) == 0


# A program that compares two functions for each scale from standard input: the requantization in
# integers and the one in float32. It prints the number of differences.
REQUANTIZATION = """
#include <math.h>
#include <stdio.h>
#include <string.h>

/* XNNPACK's requantization: float32 product, clipped, rounded to nearest, ties to even. */
static int32_t reference(int32_t sum, uint32_t bits)
{
    float scale, product;

    memcpy(&scale, &bits, sizeof scale);
    product = (float)sum * scale;
    return (int32_t)nearbyintf(fmaxf(fminf(product, 65535.0f), -65535.0f));
}

/* Return the smallest sum for which a monotone function returns at least `code`. */
static int64_t first(int32_t (*rule)(int32_t, uint32_t), uint32_t scale, int32_t code)
{
    int64_t low = INT32_MIN, high = (int64_t)INT32_MAX + 1;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;

        if (rule((int32_t)middle, scale) >= code) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

int main(void)
{
    uint32_t scale;
    long differences = 0;
    uint32_t random = 1;
    int32_t code;
    int i;

    while (fread(&scale, 4, 1, stdin) == 1) {
        for (code = -300; code <= 300; code++) {
            differences += first(multiply_by_scale, scale, code) != first(reference, scale, code);
        }
        for (i = 0; i < 2000; i++) {
            random = random * 1664525u + 1013904223u;
            const int32_t sum = (int32_t)random >> random % 32;
            differences += multiply_by_scale(sum, scale) != reference(sum, scale);
        }
    }
    printf("%ld\\n", differences);
    return 0;
}
"""


def test_requantization_in_integers_equals_float32(published, tmp_path):
    """Compare both functions over all 2^32 sums, for 601 output codes of each scale.

    Both functions are monotone. They are equal if each code begins at the same sum, which the
    program finds by bisection.
    """
    piece = Path(sys.modules["export.c"].__file__).parent / "pieces/requantize.c"
    text = "#include <stdint.h>\n" + piece.read_text()
    (tmp_path / "main.c").write_text(text + REQUANTIZATION)
    command = [CC, "-std=c99", "-O2", "-ffp-contract=off", "main.c", "-lm", "-o", "program"]
    subprocess.run(command, cwd=tmp_path, check=True)
    random = np.random.default_rng(0)
    scales = [
        *(layer.requantization.scales for layer in read_network(published).layers
          if hasattr(layer, "requantization")),
        # Random mantissas and exponents in the supported range, and the limits of both.
        np.ldexp(random.uniform(1, 2, 600), random.integers(-32, 8, 600)).astype(np.float32),
        np.ldexp(np.float32(1), np.arange(-32, 8)).astype(np.float32),
        np.nextafter(np.ldexp(np.float32(1), np.arange(-31, 9)), np.float32(0)).astype(np.float32),
    ]  # fmt: skip
    data = np.concatenate(scales).astype("<f4").tobytes()
    done = subprocess.run([tmp_path / "program"], input=data, capture_output=True, check=True)
    assert done.stdout == b"0\n"


# A program that converts frames to MNIST's format. Standard input contains width, height and pixels
# of each frame; standard output contains status and pixels of each result.
PREPROCESSING = """
#include <stdio.h>
#include <stdlib.h>
#include "digits.h"

int main(void)
{
    digits_preprocess_workspace *const workspace = malloc(sizeof *workspace);
    uint8_t pixels[DIGITS_PIXELS];
    int32_t size[2];

    while (fread(size, sizeof size, 1, stdin) == 1) {
        const size_t bytes = (size_t)size[0] * (size_t)size[1];
        uint8_t *const gray = malloc(bytes);

        if (fread(gray, 1, bytes, stdin) != bytes) {
            return 1;
        }
        fputc(digits_preprocess(gray, size[0], size[1], workspace, pixels), stdout);
        fwrite(pixels, sizeof pixels, 1, stdout);
        free(gray);
    }
    free(workspace);
    return 0;
}
"""


def cropped(cover: np.ndarray, margin: float) -> np.ndarray:
    """Crop an image to its ink, with a margin as a share of its height; at least 32 pixels high."""
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    reach = int(margin * len(rows))
    top = max(min(rows[0] - reach, len(cover) - 32), 0)
    bottom = max(rows[-1] + 1 + reach, top + 32)
    return cover[top:bottom, max(columns[0] - reach, 0) : columns[-1] + 1 + reach]


def frames(count: int) -> list[np.ndarray]:
    """Return gray frames with pen strokes, uint8 (height, width), of 32 to 320 pixels.

    Some have noise, uneven light or ruled lines. A quarter is cropped to the ink.
    """
    random = np.random.default_rng(11)
    made = []
    for number in range(count):
        width, height = (int(n) for n in random.integers(32, 321, 2))
        page = Image.new("L", (4 * width, 4 * height))
        reach = random.uniform(0.15, 0.4) * min(page.size)
        middle = random.uniform(0.4, 0.6, 2) * page.size
        for _ in range(random.integers(1, 3)):
            points = middle + random.uniform(-1, 1, (random.integers(2, 7), 2)) * reach
            pen = max(1, int(reach * random.uniform(0.05, 0.3)))
            ImageDraw.Draw(page).line([*map(tuple, points.tolist())], 255, pen, "curve")
        cover = np.asarray(page.resize((width, height), Image.Resampling.BOX)) / 255
        if number % 4 == 3:
            cover = cropped(cover, margin=number % 3 * 0.03)
        height, width = cover.shape
        ground, ink = random.integers(150, 256), random.integers(0, 90)
        frame = ground + (ink - ground) * cover
        if number % 2:
            frame = 255 - frame
        if number % 5 == 4:
            lines = slice(int(random.integers(4, 30)), None, int(random.integers(25, 60)))
            frame[lines] += random.integers(20, 90) * (1 if np.median(frame) < 128 else -1)
        if number % 3 == 1:
            frame += random.normal(0, random.uniform(0.5, 4), frame.shape)
        if number % 3 == 2:
            frame *= 1 - random.uniform(0, 0.4) * np.arange(width) / width
        made.append(np.rint(frame).clip(0, 255).astype(np.uint8))
    return made


def c_preprocess(folder, options, images):
    """Compile digits_preprocess with `options` and run it in `folder`.

    Returns:
        Status, uint8 (N,), and pixels, uint8 (N, 28, 28, 1).
    """
    source = write_c(artifact.read(PUBLISHED))
    (folder / "digits.h").write_text(source.header)
    (folder / "digits.c").write_text(source.code)
    (folder / "main.c").write_text(PREPROCESSING)
    command = [CC, *options, "main.c", "digits.c", "-o", "program"]
    subprocess.run(command, cwd=folder, check=True)
    data = b"".join(np.array(each.shape[::-1], "<i4").tobytes() + each.tobytes() for each in images)
    done = subprocess.run([folder / "program"], input=data, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    found = np.frombuffer(done.stdout, [("status", "u1"), ("pixels", "u1", (28, 28, 1))])
    return found["status"], found["pixels"]


def test_preprocessing_equals_that_of_the_runtime(tmp_path):
    """Allow a few differences of one gray level: NumPy sums in float32 and in another order.

    About one frame in a thousand differs more: a pixel equals a threshold, or the center of mass is
    between two pixels.
    """
    images = frames(1000)
    status, pixels = c_preprocess(tmp_path, ("-std=c99", "-O3"), images)
    expected = [preprocess(image) for image in images]
    cluttered = status == 2
    assert cluttered.mean() < 0.005
    blank = np.array([each.method == "blank" for each in expected])
    np.testing.assert_array_equal(blank[~cluttered], (status == 1)[~cluttered])
    difference = np.abs(pixels.astype(int) - [each.pixels for each in expected]).max(axis=(1, 2, 3))
    difference = difference[~cluttered]
    assert (difference == 0).mean() >= 0.995
    assert (difference <= 1).mean() >= 0.998


def test_preprocessing_of_extreme_frames_passes_the_sanitizers(tmp_path):
    random = np.random.default_rng(0)
    odd = [
        np.full((200, 300), 7, np.uint8),
        np.full((32, 1), 7, np.uint8),
        np.arange(320, dtype=np.uint8)[np.newaxis],
        random.integers(0, 256, (320, 320), dtype=np.uint8),
        random.integers(0, 2, (320, 320), dtype=np.uint8) * 255,
        np.pad(np.full((300, 300), 255, np.uint8), 10),
        *(np.zeros(shape, np.uint8) for shape in ((321, 40), (40, 321), (31, 31), (1, 1))),
    ]
    status, pixels = c_preprocess(tmp_path, SANITIZED, [*odd, *frames(60)])
    assert status[:2].tolist() == [1, 1]
    assert status[6:10].tolist() == [3] * 4
    assert not pixels[status != 0].any()


def test_arduino_sketch_prints_the_result_of_the_selftest(tmp_path):
    """Compile the sketch as C++, as the Arduino IDE does, with a substitute for `Serial`."""
    if shutil.which("c++") is None:
        pytest.skip("a C++ compiler is missing: apt install g++")
    write.export(PUBLISHED, tmp_path, "arduino")
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    sketch = (tmp_path / "digits/digits.ino").read_text()
    main = "\nint main() { setup(); loop(); }\n"
    (tmp_path / "sketch.cpp").write_text('#include "Arduino.h"\n' + sketch + main)
    for command in (
        [CC, "-std=gnu11", "-Os", "-Wall", "-Wextra", "-Werror", "-c", "digits/digits.c"],
        [
            "c++",
            "-std=gnu++17",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Idigits",
            "sketch.cpp",
            "digits.o",
        ],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "a.out"], capture_output=True, text=True, check=True)
    assert done.stdout == "self-test passed: the scores are LiteRT's\nnone of the classes\n"


ARDUINO = """
#include <cstdio>

struct {
    void begin(long) {}
    operator bool() { return true; }
    void print(const char *text) { std::fputs(text, stdout); }
    void println(const char *text) { std::puts(text); }
    void println(int number) { std::printf("%d\\n", number); }
    void println(float number) { std::printf("%.2f\\n", number); }
} Serial;

static void delay(int) {}
"""


def test_cmake_project_prints_the_result_of_the_selftest(small, tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("CMake is missing: apt install cmake")
    made = small("cmake-model", (8, 8, 1), layers_of("depthwise")[1][-1:])
    write.export(made.path, tmp_path, "cmake")
    assert {path.name for path in (tmp_path / "cmake_model").iterdir()} == {
        *("cmake_model.c", "cmake_model.h", "main.c", "CMakeLists.txt")
    }
    for command in (["-S", "cmake_model", "-B", "build"], ["--build", "build"]):
        subprocess.run(["cmake", *command], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run([tmp_path / "build/selftest"], capture_output=True, text=True, check=True)
    assert done.stdout == "self-test passed: the scores are LiteRT's\n"


def test_stack_is_that_of_the_deepest_chain_of_calls():
    graph = """
    node: { title: "run" label: "run\\nfile.c:1:1\\n16 bytes (static)" }
    node: { title: "file.c:one" label: "one\\nfile.c:2:1\\n32 bytes (static)" }
    node: { title: "two" label: "two\\nfile.c:3:1\\n8 bytes (static)" }
    edge: { sourcename: "run" targetname: "file.c:one" label: "file.c:1:2" }
    edge: { sourcename: "run" targetname: "two" label: "file.c:1:3" }
    edge: { sourcename: "two" targetname: "__aeabi_ddiv" label: "file.c:3:3" }
    """
    assert boards.deepest_stack(graph, "run") == 48


def test_flash_ram_and_stack_are_those_of_the_published_table(published):
    processor = "Cortex-M4"
    command = boards.COMPILERS[processor]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is missing")
    size = boards.measure(write_c(published), command)
    assert (size.ram, 70_000 < size.flash < 95_000, 100 < size.stack < 500) == (5060, True, True)
    version = subprocess.run([command[0], "-dumpversion"], capture_output=True, text=True)
    if version.stdout.startswith("12.2"):  # the version of the table
        page = (Path(__file__).parents[2] / "docs/microcontrollers.md").read_text()
        sizes = f"| {size.flash:,} | {size.ram:,} | {size.stack:,} |"
        assert any(sizes in line for line in page.splitlines() if f"| {processor} |" in line)


def test_table_of_boards_without_compilers_has_no_sizes(published, monkeypatch):
    monkeypatch.setenv("PATH", "")
    lines = boards.table(write_c(published))[2:-2]
    assert len(lines) == len(boards.BOARDS)
    assert all("| size not measured |" in line for line in lines)


# A module of the name of TFLM's. Its interpreter returns the logits in a file.
FAKE_MICRO = """
import numpy as np
from pathlib import Path

class Interpreter:
    @classmethod
    def from_file(cls, path, arena_size):
        fake = cls()
        fake.logits = iter(np.load(Path(__file__).with_name("logits.npy")))
        return fake

    def set_input(self, image, index):
        pass

    def invoke(self):
        pass

    def get_output(self, index):
        return [next(self.logits)]

    def print_allocations(self):
        print("Arena allocation total 1")
"""


@pytest.fixture(scope="module")
def micro_python():
    """Return a Python interpreter with tflite-micro: $TFLITE_MICRO_PYTHON or the running one."""
    python = os.environ.get("TFLITE_MICRO_PYTHON", sys.executable)
    done = subprocess.run([python, "-c", "import tflite_micro"], capture_output=True)
    if done.returncode:
        pytest.skip("tflite-micro is missing: pip install tflite-micro (x86-64)")
    return python


def test_model_for_tflm_has_batch_size_1_and_ends_with_the_logits(published):
    data, operators = tflm.convert(published)
    assert operators == ["CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "RESHAPE", "STRIDED_SLICE"]
    made = dataclasses.replace(published, data=data)
    details = importlib.import_module("ai_edge_litert.interpreter").Interpreter(
        model_content=made.data
    )
    (source,), (result,) = details.get_input_details(), details.get_output_details()
    assert source["shape_signature"].tolist() == [1, 28, 28, 1]
    assert (result["shape_signature"].tolist(), result["dtype"]) == ([1, 10], np.int8)


def test_tflm_predicts_as_litert_and_its_c_array_compiles(
    published, strokes, tmp_path, micro_python
):
    clear = Classifier(open_backend(published, "litert")).scores(strokes).max(axis=1) > 0.6
    lines = tflm.write(published, tmp_path, micro_python, strokes[clear])
    assert re.search(r"arena: \d\d,\d{3} bytes", lines[-1])
    subprocess.run([CC, "-std=c11", *STRICT[1:], "-c", "digits_tflm.c"], cwd=tmp_path, check=True)
    assert len((tmp_path / "digits_tflm.tflite").read_bytes()) < len(published.data)


@pytest.fixture
def fake_micro(tmp_path, monkeypatch):
    """Return a function that makes a package of the name of TFLM's return given logits."""
    package = tmp_path / "fake/tflite_micro/python/tflite_micro"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parents[1]):
        (folder / "__init__.py").touch()
    (package / "runtime.py").write_text(FAKE_MICRO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    return lambda logits: np.save(package / "logits.npy", logits.astype(np.int8))


def test_other_prediction_or_logit_of_tflm_is_an_error(published, strokes, fake_micro):
    data, _ = tflm.convert(published)
    logits = tflm._logits(data, (strokes ^ np.uint8(128)).view(np.int8)[:, np.newaxis])
    ranked = np.sort(logits, axis=1)
    # The image of the most uncertain prediction, and 20 others.
    chosen = [int((ranked[:, -1] - ranked[:, -2]).argmin()), *range(20)]
    images, logits = strokes[chosen], logits[chosen]
    fake_micro(logits)
    assert tflm.verify(published, data, images, sys.executable).steps == 0
    first = logits[0].argmax()
    (other, *_) = [n for n in logits[0].argsort()[::-1] if n != first]
    change = logits[0, first] + 1 - logits[0, other]
    assert change <= tflm.MAX_STEPS
    logits[0, other] += change
    fake_micro(logits)
    with pytest.raises(ParityError, match="another class than LiteRT for 1 of 21 images"):
        tflm.verify(published, data, images, sys.executable)
    logits[1, 0] += tflm.MAX_STEPS + 1
    fake_micro(logits)
    with pytest.raises(ParityError, match="quantization steps"):
        tflm.verify(published, data, images, sys.executable)


@pytest.mark.parametrize("options", [["--boards"], ["--target", "tflm"], []])
def test_missing_litert_is_reported(tmp_path, monkeypatch, options):
    for name in ("ai_edge_litert", *(n for n in sys.modules if n.startswith("ai_edge_litert."))):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailable, match=r'pip install "digit-edge\[litert\]"'):
        export_c([*options, "--out", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_missing_tflite_micro_is_reported_in_one_line(tmp_path):
    empty = tmp_path / "python"
    empty.write_text(
        "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'tflite_micro'\" >&2\nexit 1\n"
    )
    empty.chmod(0o755)
    command = [sys.executable, "-m", "export.c", "--target", "tflm", "--python", empty]
    done = subprocess.run([*command, "--out", tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: .* has no tflite-micro: pip install .*\n", done.stderr)


@pytest.fixture(scope="module")
def program(published, tmp_path_factory):
    """Return the program of the layout "program", compiled with two sanitizers."""
    folder = tmp_path_factory.mktemp("program")
    write.export(published.path, folder, "program")
    command = [CC, *SANITIZED, "-O1", "main.c", "digits.c", "-o", "digits"]
    subprocess.run(command, cwd=folder / "digits", check=True)
    return folder / "digits/digits"


def run_program(program, *names, **options):
    return subprocess.run([program, *names], capture_output=True, text=True, **options)


def pgm(path: Path, picture: Image.Image) -> Path:
    picture.convert("L").save(path, "PPM")
    return path


def test_program_classifies_frames_and_raw_pixels_as_the_runtime_does(published, program, tmp_path):
    golden = published.spec.golden.pixels
    (tmp_path / "raw").write_bytes(golden[0].tobytes())
    large = Image.fromarray(255 - golden[1, :, :, 0]).resize((280, 280))
    small = Image.fromarray(golden[2, :, :, 0])
    names = [tmp_path / "raw", pgm(tmp_path / "large", large), pgm(tmp_path / "small", small)]
    done = run_program(program, *names)
    classifier = Classifier.load(published.path)
    # The program does not repeat uncertain predictions with test-time augmentation.
    inputs = (golden[0], preprocess(large).pixels, golden[2])
    predictions = [classifier.classify(each) for each in inputs]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [each["image"] for each in found] == list(map(str, names))
    assert [(each["label"], each["accepted"]) for each in found] == [
        (each.label, each.accepted) for each in predictions
    ]
    # Pixels of frames may differ by one level.
    confidences = [each.confidence for each in predictions]
    assert [each["confidence"] for each in found] == pytest.approx(confidences, abs=0.01)


def test_program_scales_images_with_fewer_gray_levels(published, program, tmp_path):
    pixels = published.spec.golden.pixels[0] // 16
    (tmp_path / "few.pgm").write_bytes(b"P5 28 28 15\n" + pixels.tobytes())
    done = subprocess.run([program, tmp_path / "few.pgm"], capture_output=True, check=True)
    expected = Classifier(open_backend(published)).classify(pixels * 17)
    found = json.loads(done.stdout)
    assert found["confidence"] == pytest.approx(expected.confidence, abs=1e-6)
    assert (found["label"], found["accepted"]) == (expected.label, expected.accepted)


def test_program_reads_standard_input(published, program):
    pixels = published.spec.golden.pixels[0].tobytes()
    done = subprocess.run([program, "-"], input=pixels, capture_output=True)
    assert json.loads(done.stdout)["image"] == "-"
    with open("/dev/null") as empty:
        done = subprocess.run([program, "-"], stdin=empty, capture_output=True)
    assert (done.returncode, done.stderr) == (2, b"error: -: empty file; copy it again\n")


# Names of files, bytes: escapes, control characters, and valid, invalid and truncated UTF-8.
NAMES = [
    b'a"b\\c',
    bytes(range(1, 47)),
    bytes(range(48, 160)),
    bytes(range(160, 256)),
    "äß中\U0001f600\U0010ffff\ud7ff\ue000\uffff\u202e\u2028\x9b".encode(),
    b"\xc0\x80\xc1\xbf\xe0\x9f\xbf\xf0\x8f\xbf\xbf",  # overlong
    b"\xed\xa0\x80\xed\xbf\xbf\xf4\x90\x80\x80\xf8\x88\x80\x80\x80",  # surrogates; too large
    b"\xe4\xb8x\xf0\x9f\x98",
]


def test_program_prints_names_as_json_as_python_does(published, program, tmp_path):
    random = np.random.default_rng(3)
    names = NAMES + [
        bytes(random.choice([*b"a\x80\x9f\xa0\xbf\xc3\xe1\xed\xef\xf0\xf4\xff"], 30).tolist())
        for _ in range(100)
    ]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(published.spec.golden.pixels[0].tobytes())
    done = subprocess.run([program, "--", *names], capture_output=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode("ascii").splitlines()
    assert [json.loads(line)["image"] for line in lines] == list(map(os.fsdecode, names))


def test_program_prints_errors_in_one_safe_line_of_utf8(program, tmp_path):
    done = subprocess.run([program, "--", *NAMES], capture_output=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    lines = done.stderr.decode().split("\n")
    assert len(lines) == len(NAMES) + 1
    # Python also escapes characters without a meaning; a terminal does not obey them.
    assert all(re.sub("[\ud7ff\ue000\uffff\U0010ffff]", "", line).isprintable() for line in lines)
    assert "äß中" in lines[4]
    assert r"\udce4\udcb8x" in lines[-2]
    assert r"\x1b" in lines[1]


def test_program_handles_ten_thousand_files(program, published, tmp_path):
    (tmp_path / "a").write_bytes(published.spec.golden.pixels[0].tobytes())
    done = run_program(program, "a", *["b"] * 9998, "a", cwd=tmp_path)
    assert (done.returncode, len(done.stdout.splitlines())) == (2, 2)
    assert done.stderr == 9998 * "error: b: No such file or directory; check the path\n"


def test_program_explains_its_usage(program, published):
    for option in ("-h", "--help"):
        done = run_program(program, "missing", option)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("usage: digits")
        assert "28 x 28 x 1 bytes" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 80
    done = run_program(program, "--version")
    assert (done.returncode, done.stdout) == (0, f"model with SHA-256 {published.spec.digest}\n")
    for arguments in ([], ["--"]):
        done = run_program(program, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: digits")
        assert "\nerror: FILE: missing; " in done.stderr
    for option in ("--verzion", "-x", "-h1", "--help=", "---", "-\x1b"):
        done = run_program(program, option)
        assert (done.returncode, done.stdout) == (2, "")
        shown = option.replace("\x1b", r"\x1b")
        assert f"error: {shown}: unknown option; " in done.stderr.splitlines()[-1]


def test_two_dashes_end_the_options_of_the_program(program, published, tmp_path):
    for name in ("--help", "--", "-x"):
        (tmp_path / name).write_bytes(published.spec.golden.pixels[0].tobytes())
    done = run_program(program, "--", "--help", "--", "-x", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line)["image"] for line in done.stdout.splitlines()]
    assert found == ["--help", "--", "-x"]


def test_program_rejects_what_is_not_a_file_in_one_line(program, tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    names = ["folder", "pipe", "missing", "", "x" * 300]
    done = run_program(program, *names, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    for line, name in zip(done.stderr.splitlines(), names, strict=True):
        assert re.fullmatch(rf"error: {name}: [^;]+; [^;]+", line)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"P5",
        b"P5 28",
        b"P5 28 28 255\n",
        b"P5 -1 5 255\n" + bytes(5),
        b"P5 99999999999999999999 1 255\n",
        b"P5 400 400 255\n" + bytes(160_000),
        b"P5 65536 65537 100\n" + bytes(80_000),  # the product exceeds 32 bits
        b"P5 28 28 65535\n" + bytes(1568),
        b"P5 #" + b"x" * 5000,
        b"P6 28 28 255\n" + bytes(3 * 784),
        bytes(783),
    ],
)
def test_program_rejects_other_files_in_one_line(content, program, tmp_path):
    (tmp_path / "file").write_bytes(content)
    done = run_program(program, "file", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert re.fullmatch("error: file: [^;]+; [^;]+", line)


def test_program_selftest_and_full_disk(program):
    assert run_program(program, "--selftest").returncode == 0
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            done = subprocess.run([program, "--selftest"], stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 2
        assert done.stderr == b"error: standard output: cannot be written; check its disk or pipe\n"
    done = subprocess.run(["sh", "-c", f"exec {program} --help >&-"], capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"cannot be written" in done.stderr


@pytest.mark.parametrize("channels", [1, 3])
def test_program_of_another_model_takes_images_of_its_own_size(small, tmp_path, channels):
    layers = layers_of("depthwise")[1][-1:]
    made = small(f"max-{channels}", (9, 8, channels), layers)
    write.export(made.path, tmp_path, "program")
    command = [CC, *SANITIZED, "main.c", f"max_{channels}.c", "-o", "program"]
    subprocess.run(command, cwd=tmp_path / f"max_{channels}", check=True)
    pixels = made.spec.golden.pixels[0].tobytes()
    (tmp_path / "raw").write_bytes(pixels)
    (tmp_path / "pgm").write_bytes(b"P5 8 9 255\n" + pixels)
    (tmp_path / "large").write_bytes(b"P5 9 8 255\n" + pixels)
    (tmp_path / "long").write_bytes(pixels + bytes(5000))
    program = tmp_path / f"max_{channels}/program"
    done = run_program(program, "raw", "pgm", "large", "long", cwd=tmp_path)
    expected = Classifier(open_backend(made, "litert")).classify(made.spec.golden.pixels[0])
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["image"] for each in found] == (["raw", "pgm"] if channels == 1 else ["raw"])
    assert {each["label"] for each in found} == {expected.label}
    wrong = ["large", "long"] if channels == 1 else ["pgm", "large", "long"]
    for name, line in zip(wrong, done.stderr.splitlines(), strict=True):
        assert re.fullmatch(rf"error: {name}: [^;]+; [^;]+", line)
    assert f"9 x 8 x {channels} bytes" in run_program(program, "--help").stdout


def test_exported_c_file_is_an_artifact(published, tmp_path):
    write.export(published.path, tmp_path)
    written = artifact.read(tmp_path / "digits.c")
    assert written.spec.to_json() == published.spec.to_json()
    again = (tmp_path / "digits.c").read_bytes()
    write.export(published.path, tmp_path)
    assert (tmp_path / "digits.c").read_bytes() == again


def test_published_c_file_is_the_export_of_the_published_model(published, tmp_path):
    write.export(published.path, tmp_path)
    current = (tmp_path / "digits.c").read_bytes()
    assert (PRETRAINED / "digits-int8.c").read_bytes() == current, "run make publish"
