"""The boundary room."""
