"""The operating system: files, processes, signals, streams, services."""
