"""The published artefacts, package data; and in the repository alone the original they are of."""
