"""Load test of the HTTP server `digit-edge serve`: `digit-edge benchmark-serve`.

It uses ordinary clients, and hostile clients that send invalid or endless requests.
"""
