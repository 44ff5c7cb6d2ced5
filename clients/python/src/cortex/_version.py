"""The version: the file VERSION of the repository says the same (a test compares them)."""

__version__ = "1.0.0-dev"
