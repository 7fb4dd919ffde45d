"""The storage front door of a small machine."""

__version__ = "0.1.0"
