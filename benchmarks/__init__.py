"""Figures behind what the design promises: `make bench`."""
