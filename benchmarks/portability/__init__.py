"""Opens the artifacts in further engines, each in its own environment: `make portability`."""
