"""The escalation report: one HTML file of charts.

    report = build_report(warehouse, chat_id=1, first=first, last=last, now=datetime.now(UTC))
    Path("report.html").write_text(report.html, encoding="utf-8")

`numbers` reads the tables, `charts` draws, `formats` turns numbers into words, and `page` fills in
`page.html`. The file is self-contained: no script, no network. It holds counts, times and agents'
names, and no customer data. The same numbers and moment give the same bytes.
"""

from zipchat_dagster.report.page import Report, build_report

__all__ = ["Report", "build_report"]
