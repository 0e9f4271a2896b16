"""Code shared by all benchmarks: cases, subprocesses, host description, statistics, JSON."""
