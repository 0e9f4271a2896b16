"""Destinations of results: JSON lines in a file or on stdout, a command, an MQTT broker."""
