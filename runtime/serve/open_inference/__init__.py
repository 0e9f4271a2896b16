"""The Open Inference Protocol, version 2, of `digit-edge serve`: the paths below /v2.

`tensors` parses requests and encodes responses; `infer` classifies. Both run in the worker process.
Specification: https://github.com/kserve/open-inference-protocol, with Triton's extension for binary
tensors.
"""
