"""Explains the errors of an int8 artifact, for `digit-edge benchmark-parity --explain`.

An explanation contains the sources of the errors, statistics per layer, and checks of the graph.
"""
