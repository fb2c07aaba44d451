"""Layers that are no neurons."""
