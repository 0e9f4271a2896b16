"""Benchmark of photographs, scans and drawings of digits: `digit-edge benchmark-photos`."""
