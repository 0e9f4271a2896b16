"""The types of results, and their JSON."""
