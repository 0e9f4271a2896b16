"""Scripts run by the Python of an emulated Pi; they must not import the rest of `deploy`."""
