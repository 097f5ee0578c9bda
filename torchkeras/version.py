"""The version, in the one place that holds it (the build reads it without importing torch)."""

__version__ = "0.1.0"
