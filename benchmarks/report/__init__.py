"""Renders benchmark results on the terminal, in Markdown and in HTML."""
