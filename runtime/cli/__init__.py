"""Code shared by several commands: options, input paths, output formats, batches, exit status."""
