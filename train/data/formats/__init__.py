"""Reads data sets as they are stored: one module per format.

`train.data.formats.find.read` finds the format of a path and returns a `train.data.raw.RawDataSet`,
whose images `train.data.convert` converts to the network's form.
"""
