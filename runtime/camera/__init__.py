"""Reads a camera, a stream, a video or a folder of frames."""
