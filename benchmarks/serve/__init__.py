"""Measures the HTTP server under load and hostile clients."""
