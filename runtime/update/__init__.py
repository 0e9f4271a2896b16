"""The command `digit-edge update`: replace the model of a running device.

`run` checks and installs a model; `download` downloads the model and its signature over HTTP.
"""
