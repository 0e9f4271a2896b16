"""Measures one core's limits: matrix products in float32 and int8, and memory bandwidth."""

import time
from collections.abc import Callable

import numpy as np

from benchmarks.harness.messages import Roofline, RooflineRequest

# More than the caches of the processors meant hold.
_COPIED_BYTES = 1 << 26


def measure(job: RooflineRequest) -> Roofline:
    """Time the products and a copy; int8 needs onnx and onnxruntime, and is 0 without them.

    The process must have been started with its BLAS limited to one thread.
    """
    generator = np.random.default_rng(0)
    a, b = generator.random((2, job.size, job.size), np.float32)
    # Into an array that exists: fresh pages would be timed too.
    out = np.empty((job.size, job.size), np.float32)
    macs = job.size**3
    float32 = _rate(lambda: np.matmul(a, b, out), macs, job)
    source = np.ones(_COPIED_BYTES, np.uint8)
    target = np.ones_like(source)
    memory = _rate(lambda: np.copyto(target, source), 2 * _COPIED_BYTES, job)
    return Roofline(float32, _int8(job), memory)


def _int8(job: RooflineRequest) -> float:
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return 0.0
    # Weights are constants, as in a network: the engine packs them once.
    weights = np.random.default_rng(1).integers(-128, 128, (job.size, job.size), np.int8)
    helper, shape = onnx.helper, [job.size, job.size]
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", onnx.TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("c", onnx.TensorProto.INT32, shape)],
        [onnx.numpy_helper.from_array(weights, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"a": np.random.default_rng(2).integers(0, 256, (job.size, job.size), np.uint8)}
    return _rate(lambda: session.run(None, feed), job.size**3, job)


def _rate(call: Callable[[], object], work: int, job: RooflineRequest) -> float:
    """Work a second of the fastest call: a peak is what nothing disturbed."""
    fastest, began = float("inf"), time.perf_counter()
    call()
    while time.perf_counter() - began < job.seconds:
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return work / fastest if fastest < float("inf") else 0.0
