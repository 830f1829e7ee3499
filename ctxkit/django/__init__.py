"""The django room."""
