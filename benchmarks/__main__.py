"""`make bench`: what the design promises, as figures and ratios. About eight minutes.

`make bench SECTIONS="cost memory"` runs only these sections. Eight run only when named:
`long_backfill`, 100,000 conversations in about ten minutes; `chats`, an hourly run of twenty chats
in five to ten; `metrics`, of a year with ten million messages, and `metrics_lake`, the same on a
lake; `peers`, this project beside dlt and a plain script; `lake`, a lake beside a file; `soak`,
hundreds of runs with faults and kills, in about twenty minutes; and `personal_data`, of a million
messages. A lake needs PostgreSQL. All but the metrics and personal data read from a sandbox on this
machine. Nothing here asserts anything, except `soak`: that all tables are exact in the end.
"""

from __future__ import annotations

import logging
import sys

from benchmarks.budget import overhead
from benchmarks.chats import chats
from benchmarks.lake import lake
from benchmarks.metrics import metrics, metrics_lake
from benchmarks.peers import peers
from benchmarks.privacy import personal_data
from benchmarks.soak import soak
from benchmarks.storage import file_lock, long_backfill, memory
from benchmarks.sync import completeness, cost, faults, kill, live, windows


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    usual = (completeness, cost, windows, faults, live, kill, file_lock, memory, overhead)
    named = (long_backfill, chats, metrics, metrics_lake, peers, lake, soak, personal_data)
    known = {section.__name__: section for section in (*usual, *named)}
    if unknown := [name for name in sys.argv[1:] if name not in known]:
        sys.exit(f"There is no section {', '.join(unknown)}; there are {', '.join(known)}.")
    for section in [known[name] for name in sys.argv[1:]] or usual:
        print(f"\n## {section.__doc__}", flush=True)
        section()


if __name__ == "__main__":
    main()
