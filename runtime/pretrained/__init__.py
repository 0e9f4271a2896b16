"""The published artefacts: package data."""
