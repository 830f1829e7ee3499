"""The flushing room."""
