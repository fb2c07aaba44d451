"""The neurons, one file each."""
