"""Reads numbers: text lines, touching digits, recognition."""
