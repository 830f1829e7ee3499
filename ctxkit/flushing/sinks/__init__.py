"""The sinks room."""
