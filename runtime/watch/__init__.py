"""The command `digit-edge watch`: classify the images that arrive in a folder."""
