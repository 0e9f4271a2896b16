"""The command `digit-edge update`: replace the model of a running device.

`run` checks and installs a model, `download` fetches it over HTTP.
"""
