"""Measures accuracy and speed on photographs, scans and drawings of digits."""
