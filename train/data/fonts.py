"""Fetches handwriting fonts and typefaces, and draws their digits and letters.

The fonts are under the SIL Open Font License. npm packs them as `@fontsource/NAME`; each file is
verified by its SHA-256 and kept in the user's cache. `train.data.drawn` draws the digits of the
handwriting fonts; the letters of all fonts are negatives.
"""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import ImageFont

from runtime.errors import EdgeError, printable
from runtime.system import atomic_write
from train.data.load import cache_folder

VERSION = "5.3.0"  # of all packages
_FONT_SIZE_PX = 40  # of the characters on a canvas of `train.negatives`
_TIMEOUT_S = 120.0  # for all packages together; npm itself retries for minutes without a network
_MAX_BYTES = 4 << 20  # of a package; the largest has 1.3 MB
# The weights of the files: UnifrakturCook exists in bold only.
_WEIGHTS = {"unifrakturcook": 700}

# Handwriting, of which fourteen are taught in schools → SHA-256 of the WOFF file.
HANDWRITING = {
    "annie-use-your-telescope": "555a3ba045673dfa29aa1b2ed52f17772212380d2da9a79dc813ef51e26b0147",
    "architects-daughter": "0249dd5f81431dbf8a8406996c43f8018bf707221cf261d75145f083bb7091cf",
    "bad-script": "07202e03862cf10af6c0a9f5cfce39ef10e1923b64b965c3185b5ddef61b91f1",
    "caveat": "38b98dbeb922a14a74dfb41f83fc24e0e645e2eed9ce72145fefbdae8828cbfb",
    "cedarville-cursive": "8d8360a98492b42d02c17e94c38bcd2a3cce6db6b9b430f3a110e71f81d7149c",
    "covered-by-your-grace": "876d8371eedf1f9add237910aea034ca42cd5bdc8f7d722c7a04819ab3f711b8",
    "dekko": "03a28a935e5e77df75afc369cac04b9e28be68aa2156c20c649103e29d084a60",
    "delius": "eabc55870044215231d9f905b1b898926bcf588dc78e53523ea6590281b606f1",
    "gaegu": "6d4c9dac093fce05bcf214b7b1e9d60de7ecae8a22aa940d63e586bcf32cab29",
    "give-you-glory": "84c8bec3e54403b756b60f5fa44aeb89ceb5a31c7296211a0d7717611bb73f8c",
    "gloria-hallelujah": "31e7def8cf155d4dcc98216517ad509923a8a197bc9c8937668d04767c52040e",
    "gochi-hand": "82a4149218f2edccef96d2b0ed5bf92adc6ea290222bac4dcfa3de91afb6b3a3",
    "handlee": "9a8af5254df769bbdc196fd998231daec67c81dc3d6fd6f294ed80c2c4343551",
    "indie-flower": "2cf7154e899ad16246196238d6d13f0135c5feba2d8ccde5d97a22664d012660",
    "just-me-again-down-here": "154f149b85fa4145d2545b270db1a149c1815fca861b2ef90700cccf20e76050",
    "kalam": "70ab8c1d2c10a28f213c6f1c359888624d5e650ffcd64f93a8194c3e14403746",
    "la-belle-aurore": "d5ec94f05c2cb9ab9dd5bba03faede9a6d767803e36b6b5df36f64ada8546ce0",
    "mali": "cd38e40d516ab13ab4ef21cdb01671bac4c326ef338b39d87eb1892c5fc17bbf",
    "marck-script": "c26db9210c0b2823550e11baaeb2b6d234e5e5a14e8e6497029f29844859610d",
    "nanum-pen-script": "08cdd640e142c977071b4c3d5c33fd9ec322990e540f5511ca2fccff4568d0ec",
    "neucha": "b0c09e2ecd7d760fb997f926f2d15e53c57561802fb071a317832942536ca82a",
    "nothing-you-could-do": "454bff123de1c8224aff670f12797ca91cf54becf6f8359391bd37a6dd68a60e",
    "over-the-rainbow": "e721f12763490802b576b3c1511cf4a0c6a33221772bf846885a295e5b758e3e",
    "patrick-hand": "0f7031f6665437e04d6f354c5f64d6ae6777b498afbe804638c45b957a7ce8aa",
    "playwrite-at": "f0eaaf381f3fadaa16a114e2ce13defc46fe0909ea4000542cf7203caa8a88fe",
    "playwrite-cz": "97eb5b8985600339c77a0b8a0ae0af4a3c858fd7b6dd052fae985c98db15c713",
    "playwrite-de-grund": "2ef35798b3ea53e8ff8501c4a1d4608096b0b74c3a165b5ea53b1b694484de94",
    "playwrite-es": "f3d732134209dac1707259cc8654e9e5b644eb4845f38745475ee3a89958f8f4",
    "playwrite-fr-moderne": "2de15bb16c4f045edfeece7d75654ee87fd91012e939ff4dc43959cb0602509e",
    "playwrite-hr": "70ad35bbd59c3730438615da21916e4225a1764f28f8755aa9b09d417c32a0c8",
    "playwrite-hu": "8185ca1b317afb4ef1c36731f8e8ce1a563e9d8a7ee8ca9a7ee112902282004f",
    "playwrite-it-moderna": "46bbbe6618e1807652073bb16a8af99178a105591768711cf84286650bca6511",
    "playwrite-nl": "8a4510dab5571fed635e852bc776a6f3e8b9398b0bfabb2903600e95733bc580",
    "playwrite-no": "17af90ebfc46c222de4592b40365003933f58da511792c756d5452c59617c219",
    "playwrite-pl": "4f68a8bba4692b522e66771b9a3c5d67a4f5eb296da06ff717b50bfbd0c56d73",
    "playwrite-pt": "c7a5ec887965cd332a1935577dc70dfc9602f69b8657a7b9fc27e96abd38d85d",
    "playwrite-ro": "2e5ca800723e97babf861069cd72d2aff4ca27c3472319b0c26ef27a1430f105",
    "playwrite-us-trad": "198bc82b022ab9844fdb6645aecc87041ed99b1373d1c89a0f291f35a056223d",
    "poor-story": "15608168b3f53bff2060591a8a6953c9ab1c91eb19529e15b973ac2b70ca709f",
    "reenie-beanie": "1b86681155e125625f01839b2e6688dde2b2a7766a8eb49645b3a8707c2bee9f",
    "shadows-into-light": "93cff8110a18bb3e1fb0179c95f706ed1e8037e2e527c4cb425b46deaddbd975",
    "short-stack": "db596e8545afc95f708ad2d5ac878771998f7378da84c56759527fbdb02f5836",
    "sue-ellen-francisco": "e2c988155c07d4a26b81216397fa1841af0916c9737a61e05ea38bd1bd5361b1",
    "swanky-and-moo-moo": "f4f292b60677133249ab543ca178fa6786d3dd9681899ef7ccde255bf956aced",
    "the-girl-next-door": "301aabf8a983d1231988eea6e125338a3933bd69de8b14137df80840c8d8c5e8",
    "waiting-for-the-sunrise": "8a2cf921d4129a7d447370c559d0687579e842196c9e80a774fb428b1755911b",
    "zen-kurenaido": "1e20aeb08f255fbcf0ab5ccd03296d18bbeac3cefdb95e09c5b1676d73ac33b7",
}
# Printed typefaces → the same. Only their letters are drawn, as negatives.
TYPEFACES = {
    "abril-fatface": "1ba2926a3629847973ed87f4e5d8a9600fd816ccc9722e102605edbaf805a477",
    "alfa-slab-one": "84b58b9d813cf482c2d69bfc31c3bce9eb6d03ef805e4c6619eb4a012d953451",
    "cinzel": "99c6477f06f0c717d31f2bb41013582c347be65366179d5726d107ad908ff3b0",
    "lobster": "256deab80b17190f594a7daa66c58373d528d7fb0468adab04094b7253e0e6ff",
    "lora": "5c813f4975bc7267f6b5a2086370e8651144b26b107a1d71c3f4ba287ad143f1",
    "oswald": "5f3966ed3a8e59e0db0e44b18b1b143df55d6fabc9497764e1b5a8612a6a196d",
    "playfair-display": "3afd64d114a27e2f6604684c30f72d6dbb6ba3e6f6b1675f15a942efc7a56410",
    "righteous": "1dcf531a0c30d67e0949da9d6a159b9c4b6e270c9d6a028fe8a8a0ee10d90488",
    "space-mono": "d9d02a663d01b5d0a75eea2dce0ac220c0eb94aa0144f1191d0e7faff759716c",
    "unifrakturcook": "6c130a9ed06e71c315508b5519324278c4db453da1de057579784377097104bd",
}

Fonts = tuple[ImageFont.FreeTypeFont, ...]


def load(fonts: Mapping[str, str], folder: Path | None = None) -> Fonts:
    """Return fonts from the cache, or fetch them with npm.

    Args:
        fonts: NAME → SHA-256 of the WOFF file, `HANDWRITING` or `TYPEFACES`.
        folder: folder of the files; None stands for "fonts" in the user's cache.

    Returns:
        The fonts in the order of their names; empty if one of them cannot be fetched. A message on
        stderr then states the reason.
    """
    folder = cache_folder() / "fonts" if folder is None else folder
    paths = {name: folder / f"{name}.woff" for name in sorted(fonts)}
    missing = [name for name, path in paths.items() if not _is_valid(path, fonts[name])]
    reason = _fetch(missing, fonts, folder) if missing else ""
    if not reason:
        try:
            return tuple(ImageFont.truetype(path, _FONT_SIZE_PX) for path in paths.values())
        except OSError as error:  # a FreeType library that cannot read WOFF files
            reason = str(error)
    print(
        f"the fonts cannot be used: {printable(reason)}; training goes on without them",
        file=sys.stderr,
    )
    return ()


def _fetch(names: list[str], sha256: Mapping[str, str], folder: Path) -> str:
    """Fetch packages, and write the WOFF file of each to `folder`; return why it failed, or ""."""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    with atomic_write.temporary_folder() as packed:
        packages = [f"@fontsource/{name}@{VERSION}" for name in names]
        try:
            subprocess.run(
                [npm, "pack", "--silent", "--pack-destination", str(packed), *packages],
                check=True,
                capture_output=True,
                timeout=_TIMEOUT_S,
                cwd=packed,
            )
        except subprocess.TimeoutExpired:
            return f"npm took longer than {_TIMEOUT_S:.0f} s"
        except (OSError, subprocess.CalledProcessError) as error:
            text = getattr(error, "stderr", b"") or b""
            lines = text.decode(errors="replace").strip().splitlines()
            return f"npm pack failed ({lines[-1] if lines else error})"
        for name in names:
            content = _unpack(packed / f"fontsource-{name}-{VERSION}.tgz", name)
            if hashlib.sha256(content).hexdigest() != sha256[name]:
                return f"@fontsource/{name}@{VERSION} has another SHA-256 than expected"
            try:
                atomic_write.write(folder / f"{name}.woff", content)
            except EdgeError as error:  # the cache is full, or belongs to somebody else
                return str(error)
    return ""


def _unpack(path: Path, name: str) -> bytes:
    """Return the WOFF file of a package; nothing if the package is damaged or has none."""
    member = f"package/files/{name}-latin-{_WEIGHTS.get(name, 400)}-normal.woff"
    try:
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as package:
            file = package.extractfile(member)
            return b"" if file is None else file.read(_MAX_BYTES)
    except (OSError, EOFError, KeyError, tarfile.TarError):
        return b""


def _is_valid(path: Path, expected_sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == expected_sha256
    except OSError:
        return False
