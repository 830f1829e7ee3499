"""The room of parts that are made for one foreign package each, and handed to it.

Nothing is imported here: each module needs the package that it is named after.
"""
