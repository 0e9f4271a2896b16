"""Measures latency."""
