"""python -m train.refit: fits the acceptance rule of exported artefacts anew; the network stays.

A better rule needs no new network, and a network trained again elsewhere is another one: its sums
are rounded otherwise.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime import artefact
from runtime.artefact import Artefact
from runtime.errors import ArtefactError, DatasetError, exit_status

_SUFFIXES = (".tflite", ".onnx")


def main(argv: list[str] | None = None) -> int:
    """The command `python -m train.refit`."""
    arguments = parse_args(argv)
    for made in refit(arguments.artefacts, arguments.data, arguments.as_is):
        print(f"{made.path}: digest {made.spec.digest[:12]}…")
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m train.refit",
        description="Fit the rule by which images are accepted anew, to the answers of the first "
        "artefact, and write it into all of them: exports of one network. Nothing else changes.",
        epilog="Exit status: 0 written, 2 bad input.",
    )
    parser.add_argument(
        "artefacts",
        nargs="+",
        type=Path,
        metavar="ARTEFACT",
        help="a .tflite or .onnx file, a float32 one first",
    )
    parser.add_argument(
        "--data", metavar="PATH", help="what the network was trained on, as for python -m train"
    )
    parser.add_argument("--as-is", action="store_true", help="as for python -m train")
    return parser.parse_args(argv)


def refit(paths: Sequence[Path], source: str | None, as_is: bool = False) -> list[Artefact]:
    """Fit the rule as training would have, with the same images held back, and write it.

    All are checked before the first is written.

    Raises:
        ArtefactError: a file is damaged, or no export of the first one's network.
        DatasetError: the data are not those of the training.
        EdgeError: a file cannot be written.
    """
    from runtime.backends import open_backend
    from train import data
    from train.acceptance import fit_acceptance

    opened = [artefact.read(path) for path in paths]
    bare = [_without_spec(one) for one in opened]
    first = opened[0].spec
    made = dict(first.provenance)
    if first.precision != "float32" or not {"seed", "held back"} <= made.keys():
        raise ArtefactError(
            f"{paths[0]} is no float32 export of a network that python -m train made: name that "
            "one first"
        )
    for other in opened[1:]:
        if other.spec.source_sha256 != first.source_sha256:
            raise ArtefactError(f"{other.path} is of another network than {paths[0]}: leave it out")
    found = data.load(source, as_is)
    if found.dataset != first.dataset:
        raise DatasetError(
            f"{paths[0]} was trained on {first.dataset.name} ({first.dataset.sha256[:12]}…), these "
            f"are {found.name} ({found.sha256[:12]}…): name its data with --data"
        )
    seed, count = int(made["seed"]), int(made["held back"].split()[0])
    train, held_back = data.hold_back(found.train, count, seed)
    answer = open_backend(opened[0]).scores
    rule = fit_acceptance(first.labels, train.pixels, held_back.pixels, answer, seed)
    said = ("acceptance", f"fitted anew to the answers of {paths[0].name} {first.digest}")
    written = []
    for one, model in zip(opened, bare, strict=True):
        kept = tuple(pair for pair in one.spec.provenance if pair[0] != said[0])
        spec = dataclasses.replace(one.spec, acceptance=rule, provenance=(*kept, said))
        written.append(artefact.write(one.path, model, spec))
    return written


def _without_spec(one: Artefact) -> bytes:
    """The bare model; raises ArtefactError where the spec is not simply its end."""
    end = len(artefact.embed(one.path.suffix, b"", one.spec))
    bare = one.data[: len(one.data) - end]
    if one.path.suffix not in _SUFFIXES or artefact.embed(one.path.suffix, bare, one.spec) != (
        one.data
    ):
        raise ArtefactError(
            f"{one.path} is no .tflite or .onnx that this version exported: train and export again"
        )
    return bare


if __name__ == "__main__":
    sys.exit(exit_status(main))
