"""Runs benchmarks on another machine, the device, over ssh: `digit-edge benchmark --on`."""
