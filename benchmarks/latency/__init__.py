"""Measures latency, throughput, start-up time and memory of the artifacts."""
