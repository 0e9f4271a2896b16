"""Load test of the HTTP server `python -m runtime.serve`, with ordinary and hostile clients."""
