"""Bulk classification: any number of images to Parquet, one row each, on one machine or several.

`run` classifies on this machine, `on_ray` on a Ray cluster. Both write a listing of all images
first (`listing`), and classify those that have no row yet. The extra `bulk` installs pyarrow.
"""
