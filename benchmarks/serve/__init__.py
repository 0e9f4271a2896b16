"""Load test of the HTTP server `digit-edge serve`, with ordinary and hostile clients."""
