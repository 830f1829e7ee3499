"""Other people's code, as it was found."""
