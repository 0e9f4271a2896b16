"""Benchmark of latency, throughput, start-up time and memory: `digit-edge benchmark-latency`."""
