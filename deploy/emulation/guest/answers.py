"""python answers.py ENGINE IMAGES.npy FOLDER: the scores of every published artefact, as .npy."""

import sys
from pathlib import Path

import numpy as np

import runtime
from runtime import artefact
from runtime.backends import ENGINES, open_backend


def main(engine: str, images: str, folder: str) -> None:
    """Write FOLDER/ARTEFACT.npy for each artefact that the engine, named by its extra, opens."""
    (row,) = [row for row in ENGINES if row.extra == engine]
    pixels = np.load(images)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path in sorted((Path(runtime.__file__).parent / "pretrained").glob(f"digits*{row.suffix}")):
        scores = open_backend(artefact.read(path), row.name).scores(pixels)
        np.save(Path(folder) / f"{path.name}.npy", scores)


if __name__ == "__main__":
    main(*sys.argv[1:])
