"""Measures accuracy on photographs."""
