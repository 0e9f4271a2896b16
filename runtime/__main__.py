"""python -m runtime IMAGE…: which digit each image shows."""

import argparse
import json
import sys

import numpy as np

from runtime.backends import ENGINES
from runtime.classifier import Classifier, Prediction
from runtime.errors import BAD_INPUT, ImageError, exit_status, report


def main(argv: list[str] | None = None) -> int:
    """Classify the images named; 0 when all could be read, 2 when some could not."""
    arguments = parse_args(argv)
    classifier = Classifier.load(
        arguments.model,
        backend=arguments.backend,
        threads=arguments.threads,
        device=arguments.device,
    )
    labels = classifier.spec.labels
    status = 0
    for path in arguments.images:
        try:
            prediction = classifier.classify(path)
        except ImageError as error:
            status = BAD_INPUT
            if arguments.json:
                print(json.dumps({"image": path, "error": str(error)}))
            else:
                report(error)
            continue
        ranked = _ranked(prediction, labels, arguments.top)
        if arguments.json:
            print(_record(path, prediction, ranked, classifier.backend.name))
        else:
            print(_line(path, prediction, ranked))
    return status


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime",
        description="Say which digit each image shows: a photograph, a scan, a drawing.",
        epilog="Exit status: 0 all read, 2 an image or the model could not be read.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an image file")
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="a .tflite or .onnx artefact (default: the published one, else one in models/)",
    )
    parser.add_argument(
        "--backend",
        choices=[row.name for row in ENGINES],
        help="the engine (default: the first installed one that reads the model)",
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="default: cpu")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--top", type=int, default=1, metavar="K", help="show the K likeliest labels (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args(argv)
    if arguments.top < 1:
        parser.error("--top takes 1 or more")
    return arguments


def _ranked(prediction: Prediction, labels: tuple[str, ...], count: int) -> list[tuple[str, float]]:
    best_first = np.argsort(-prediction.scores, kind="stable")[:count]
    return [(labels[index], float(prediction.scores[index])) for index in best_first]


def _line(path: str, prediction: Prediction, ranked: list[tuple[str, float]]) -> str:
    answers = ", ".join(f"{label} {confidence:.1%}" for label, confidence in ranked)
    return f"{path}: {answers if prediction.accepted else f'? (not sure: {answers})'}"


def _record(
    path: str, prediction: Prediction, ranked: list[tuple[str, float]], backend: str
) -> str:
    return json.dumps(
        {
            "image": path,
            "label": prediction.label,
            "confidence": round(prediction.confidence, 6),
            "accepted": prediction.accepted,
            "top": [{"label": label, "confidence": round(c, 6)} for label, c in ranked],
            "backend": backend,
        }
    )


if __name__ == "__main__":
    sys.exit(exit_status(main))
