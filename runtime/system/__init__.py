"""Operating system functions: files, processes, signals, streams and services; for all packages."""
