"""Measures the roofline of one core: peak float32 and int8 matrix products, memory bandwidth.

`benchmarks.worker` calls `measure` in a subprocess. The roofline is an upper limit of speed, and
the reports compare each artifact's speed with this limit. Williams, Waterman and Patterson,
"Roofline: an insightful visual performance model" (2009).
"""

import time
from collections.abc import Callable

import numpy as np

from benchmarks.harness.messages import Roofline, RooflineRequest

# Size of the copied array, 64 MiB. Caches hold less, so the copy reads and writes main memory.
_COPIED_BYTES = 1 << 26


def measure(job: RooflineRequest) -> Roofline:
    """Time a float32 product, an int8 product and a copy.

    NumPy's BLAS must be limited to one thread in this process.

    Args:
        job: the size of the matrices, and the duration of each of the three measurements.

    Returns:
        The peak rates. `int8` is 0 if onnx or onnxruntime is not installed.
    """
    generator = np.random.default_rng(0)
    a, b = generator.random((2, job.size, job.size), np.float32)
    # Allocated before the timing. Otherwise the timing includes the page faults of a new array.
    out = np.empty((job.size, job.size), np.float32)
    macs = job.size**3
    float32 = _rate(lambda: np.matmul(a, b, out), macs, job)
    source = np.ones(_COPIED_BYTES, np.uint8)
    target = np.ones_like(source)
    memory = _rate(lambda: np.copyto(target, source), 2 * _COPIED_BYTES, job)
    return Roofline(float32, _int8(job), memory)


def _int8(job: RooflineRequest) -> float:
    """Return the multiply-accumulates per second of onnxruntime's uint8 × int8 product.

    The result is 0 if onnx or onnxruntime is not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return 0.0
    # The weights are constants of the graph, as in a network. The engine therefore packs them once.
    weights = np.random.default_rng(1).integers(-128, 128, (job.size, job.size), np.int8)
    helper, shape = onnx.helper, [job.size, job.size]
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", onnx.TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("c", onnx.TensorProto.INT32, shape)],
        [onnx.numpy_helper.from_array(weights, "b")],
    )
    # Old versions of the operator set and the file format, which all releases of onnxruntime read.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"a": np.random.default_rng(2).integers(0, 256, (job.size, job.size), np.uint8)}
    return _rate(lambda: session.run(None, feed), job.size**3, job)


def _rate(call: Callable[[], object], work: int, job: RooflineRequest) -> float:
    """Return the rate of the fastest call: `work` divided by its duration in seconds.

    The fastest call counts, because other programs slow down some calls.

    Args:
        call: the function to time; it is called once as a warm-up, then for `job.seconds`.
        work: operations or bytes per call.
        job: the request.

    Returns:
        The rate per second; 0 if the warm-up took longer than `job.seconds`.
    """
    fastest_s, begin_s = float("inf"), time.perf_counter()
    call()
    while time.perf_counter() - begin_s < job.seconds:
        start_s = time.perf_counter()
        call()
        fastest_s = min(fastest_s, time.perf_counter() - start_s)
    return work / fastest_s if fastest_s < float("inf") else 0.0
