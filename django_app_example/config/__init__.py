"""The project: settings, entry points, telemetry."""
