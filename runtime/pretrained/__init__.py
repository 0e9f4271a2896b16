"""The published artifacts, package data; and in the repository alone the original they are of."""
