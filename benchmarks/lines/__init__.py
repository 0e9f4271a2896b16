"""Reading composed lines of numbers."""
