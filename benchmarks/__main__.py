"""`python -m benchmarks`: see sync.py. Processes cannot be started from a module of this name."""

from benchmarks.sync import main

main()
