"""The commands of ``manage.py``. Nothing is imported here."""
