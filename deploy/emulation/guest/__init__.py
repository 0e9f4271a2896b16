"""Scripts that run on an emulated Pi, which has no other module of `deploy`.

`deploy.emulation.table` copies measure.py to a Pi; deploy/tests/test_engines.py runs scores.py.
"""
