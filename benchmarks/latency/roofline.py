"""Measures the roofline of one core: peak float32 and int8 matrix products, memory bandwidth.

The reports compare each artifact's speed with it (Williams, Waterman and Patterson 2009).
"""

import time
from collections.abc import Callable

import numpy as np

from benchmarks.harness.messages import Roofline, RooflineRequest

_COPIED_BYTES = 1 << 26  # 64 MiB, more than the caches hold, so that the copy goes to memory


def measure(job: RooflineRequest) -> Roofline:
    """Time matrix products and a copy in a process whose BLAS is limited to one thread.

    The int8 product needs onnx and onnxruntime; its rate is 0 if they are not installed.
    """
    generator = np.random.default_rng(0)
    a, b = generator.random((2, job.size, job.size), np.float32)
    # Allocated before the timing, which would otherwise include the page faults of a new array.
    out = np.empty((job.size, job.size), np.float32)
    macs = job.size**3
    float32 = _rate(lambda: np.matmul(a, b, out), macs, job)
    source = np.ones(_COPIED_BYTES, np.uint8)
    target = np.ones_like(source)
    memory = _rate(lambda: np.copyto(target, source), 2 * _COPIED_BYTES, job)
    return Roofline(float32, _int8(job), memory)


def _int8(job: RooflineRequest) -> float:
    """Return the multiply-accumulates per second of onnxruntime's uint8 × int8 product."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return 0.0
    # The weights are constants of the graph, as in a network, so that the engine packs them once.
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
    """Return `work` per second of the fastest call within `job.seconds`, after one warm-up call.

    A peak rate is that of the fastest call, because others were slowed down by other programs.
    """
    fastest_s, begin_s = float("inf"), time.perf_counter()
    call()
    while time.perf_counter() - begin_s < job.seconds:
        start_s = time.perf_counter()
        call()
        fastest_s = min(fastest_s, time.perf_counter() - start_s)
    return work / fastest_s if fastest_s < float("inf") else 0.0
