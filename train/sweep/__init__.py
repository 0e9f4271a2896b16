"""Trains settings × seeds, in any number of processes, and compares them on validation images.

The queue of the runs is an Optuna study (`queue`); each run is `digit-edge train` (`run`); `table`
compares them.
"""
