"""Runs benchmarks on another machine, the device, over ssh."""
