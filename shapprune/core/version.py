"""The version: said here, read by the package, its metadata and every result."""

__version__ = "0.1.0"
