"""The memory estimate: an upper bound of what decoding takes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.preprocess.decode import MAX_DECODED_BYTES
from runtime.preprocess.decode_memory import memory_bytes


def test_webp_photograph_of_a_phone_is_within_the_memory_limit(tmp_path: Path) -> None:
    Image.new("RGB", (4032, 3024)).save(tmp_path / "phone.webp")
    with Image.open(tmp_path / "phone.webp") as image:
        assert memory_bytes(image) <= MAX_DECODED_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc of Linux")
@pytest.mark.parametrize("kind", ["I;16", "RGBA", "LA", "F", "progressive", "WEBP", "CMYK"])
def test_decoding_takes_at_most_the_estimated_memory(kind: str, tmp_path: Path) -> None:
    if kind == "I;16":
        image = Image.fromarray(np.full((2500, 3000), 60_000, np.uint16))
    else:
        mode = {"WEBP": "RGB", "progressive": "RGB"}.get(kind, kind)
        image = Image.new("RGB", (3000, 2500), "white").convert(mode)
    if "A" in image.getbands():
        image.putalpha(0)
    image.paste(0, (1400, 900, 1500, 1600))
    format = {"progressive": "JPEG", "WEBP": "WEBP", "F": "TIFF", "CMYK": "TIFF"}.get(kind, "PNG")
    path = tmp_path / "large"
    image.save(path, format, progressive=True)
    script = (
        "import sys\nfrom runtime.preprocess.decode import decode\n"
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "decode(sys.argv[1], longest=20)\nbefore = peak()\n"
        "for longest in (192, 4096): decode(sys.argv[2], longest=longest)\n"
        "print(peak() - before)\n"
    )
    small = tmp_path / "small"
    image.resize((30, 30), Image.Resampling.NEAREST).save(small, format)
    done = subprocess.run(
        [sys.executable, "-c", script, small, path], capture_output=True, text=True, check=True
    )
    with Image.open(path) as opened:
        estimate = memory_bytes(opened)
        pixels = opened.width * opened.height
    # In addition: the gray result, its alpha, and temporary strips.
    assert int(done.stdout) << 10 < estimate + 3 * pixels + (24 << 20)
