"""Sentry: the client that ``sentry_sdk.init`` made."""
