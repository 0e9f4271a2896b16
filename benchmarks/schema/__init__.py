"""Dataclasses of the results of each benchmark, their JSON keys, targets and verdicts."""
