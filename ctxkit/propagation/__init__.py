"""The propagation room."""
