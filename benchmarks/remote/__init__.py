"""Runs benchmarks on another machine over ssh."""
