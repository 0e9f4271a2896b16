"""Replaces the model of a running device."""
