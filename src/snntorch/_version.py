"""The version, read by the build backend too."""

__version__ = "2.0.0.dev0"
