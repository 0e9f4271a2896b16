"""Run an inference request of the Open Inference Protocol.

`runtime.serve.worker` calls `infer` for POST /v2/models/{name}/infer.
"""

import time
from typing import Any

from runtime.classifier import Classifier
from runtime.serve.open_inference import tensors
from runtime.serve.problem_details import HttpProblem
from runtime.serve.responses import Counted, WorkerBody


def infer(classifier: Classifier, body: bytes, name: str, json_bytes: int | None) -> WorkerBody:
    """Classify the pixels of an inference request.

    Args:
        classifier: the open model.
        body: the body of the request.
        name: the name of the model in the request's path.
        json_bytes: size of the JSON at the start of the body; None if all of it is JSON.

    Returns:
        The response, with binary tensors if the request asks for them.

    Raises:
        HttpProblem: 400 if the request is invalid, 404 if the open model has another name.
    """
    spec = classifier.spec
    if name != spec.name:
        raise HttpProblem(404, f"unknown model: the model of this server is {spec.name}")
    request = tensors.parse(body, json_bytes, spec.fixed_shape)
    start = time.perf_counter()
    predictions = classifier.classify_batch(request.pixels)
    seconds = (time.perf_counter() - start) / len(predictions)
    rows, classes = len(predictions), len(spec.labels)
    scores = [score for each in predictions for score in each.scores.tolist()]
    outputs: dict[str, tuple[str, list[int], list[Any]]] = {
        "scores": ("FP32", [rows, classes], scores),
        "label": ("BYTES", [rows], [each.label for each in predictions]),
        "accepted": ("BOOL", [rows], [bool(each.accepted) for each in predictions]),
    }
    head: dict[str, object] = {"model_name": spec.name}
    if request.id is not None:
        head["id"] = request.id
    encoded, encoded_json_bytes = tensors.encode(head, outputs, request.outputs)
    digits = [
        Counted(each.label, bool(each.accepted), float(each.confidence), seconds)
        for each in predictions
    ]
    return WorkerBody(encoded, digits, encoded_json_bytes)
