"""Parts that several commands share: options, input names, output formats, batches."""
