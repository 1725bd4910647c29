"""The escalation report: one HTML file of charts, for people who would rather look than read.

    report = build_report(warehouse, chat_id=1, first=first, last=last, now=datetime.now(UTC))
    Path("report.html").write_text(report.html, encoding="utf-8")

`numbers` reads the tables, `charts` draws, `formats` words the numbers, `page` puts them together
with `page.html`. The file needs nothing beside it: no script, no network. It holds counts, times
and agents' names, and no customers' data. The same numbers and moment give the same bytes.
"""

from zipchat_dagster.report.page import Report, build_report

__all__ = ["Report", "build_report"]
