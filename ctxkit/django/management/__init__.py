"""What ``manage.py`` finds. Nothing is imported here."""
