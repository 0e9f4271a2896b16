"""Measures how well images that are not digits are rejected."""
