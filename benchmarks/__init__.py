"""Figures behind what the README promises: `make bench`."""
