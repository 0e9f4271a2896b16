"""What is known of a model apart from the engine that runs it."""
