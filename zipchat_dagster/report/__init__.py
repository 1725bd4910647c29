"""The escalation report: one HTML file that computes its figures in the browser.

    report = build_report(warehouse, chat_id=1, first=first, last=last, now=datetime.now(UTC))
    Path("report.html").write_text(report.html, encoding="utf-8")

`data` reads the rows, `page` puts them into `page.html` with its script, style and charts, and
`picture` draws the key charts for places that cannot show the page. `chats` makes the page of all
chats, which leads to theirs. The files need no network. They hold ids, links, times and agents'
names, and no customer data.
"""

from zipchat_dagster.report.page import Report, build_report

__all__ = ["Report", "build_report"]
