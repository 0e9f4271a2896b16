"""Data sets: finding, reading, checking and splitting them."""
