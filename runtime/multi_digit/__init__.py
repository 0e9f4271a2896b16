"""Reads numbers of several digits: detects text lines, splits touching digits, recognizes them."""
