"""How results are shown: on the terminal, in Markdown, as a page."""
