"""python -m runtime.serve: a page to draw on, and an HTTP API, answered by an artefact."""
