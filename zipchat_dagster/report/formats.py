"""Numbers, times and days in the words that the page and the charts share."""

from __future__ import annotations

from datetime import date

from zipchat_dagster.report.numbers import Number

NONE = "–"  # no value, such as a rate without a denominator

_NO_BREAK = "\u00a0"
_UNITS = ((60.0, "s", 1.0), (60.0, "min", 60.0), (48.0, "h", 3600.0), (1e12, "d", 86400.0))


def count(value: Number) -> str:
    """`1,204`; a mean keeps one decimal below 10."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if isinstance(value, int) or value >= 10 else _short(value)


def percent(value: Number) -> str:
    """`6.2%` of 0.062."""
    return NONE if value is None else f"{value * 100:.1f}%"


def duration(seconds: Number) -> str:
    """`45 s`, `12 min`, `3.5 h`, `2.1 d`; one decimal below 10, and never broken over two lines."""
    if seconds is None:
        return NONE
    for limit, unit, size in _UNITS:
        text = f"{seconds:.0f}" if unit == "s" else _short(seconds / size)
        if float(text) < limit:
            return f"{text}{_NO_BREAK}{unit}"
    raise AssertionError(seconds)


def day(value: date) -> str:
    """`2 Nov`, in English whatever the machine's language."""
    return f"{value.day} {_MONTHS[value.month - 1]}"


def day_and_year(value: date) -> str:
    """`2 Nov 2026`."""
    return f"{day(value)} {value.year}"


def month(value: date) -> str:
    """`Nov`."""
    return _MONTHS[value.month - 1]


def days(first: date, last: date) -> str:
    """`2 – 8 Nov 2026`, with no more of the first day than is needed."""
    if first == last:
        return day_and_year(last)
    if first.year != last.year:
        return f"{day_and_year(first)} – {day_and_year(last)}"
    start = str(first.day) if first.month == last.month else day(first)
    return f"{start} – {day_and_year(last)}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _short(value: float) -> str:
    text = f"{value:.1f}"
    return f"{value:.0f}" if float(text) >= 10 or text.endswith(".0") else text
