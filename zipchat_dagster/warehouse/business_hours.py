"""Business hours: when agents work, such as `mon-fri 09:00-17:00` in the chat's time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pandas as pd

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_MINUTES_OF_A_DAY = 24 * 60
_DAY = "|".join(WEEKDAYS)
_PART = re.compile(
    rf"(?P<first>{_DAY})(?:-(?P<last>{_DAY}))?\s+"
    r"(?P<opens>\d{1,2}:[0-5]\d)-(?P<closes>\d{1,2}:[0-5]\d)"
)


@dataclass(frozen=True)
class BusinessHours:
    """Opening times by weekday (0 is Monday), in `timezone`."""

    spans: tuple[tuple[int, time, timedelta], ...]  # weekday, opening time, length; none overlap
    timezone: str

    @classmethod
    def parse(cls, text: str, timezone: str) -> BusinessHours:
        """Read `mon-fri 09:00-17:00, sat 10:00-14:00`; a day ends at 24:00 at the latest.

        Raises:
            ValueError: the text does not have this form.
        """
        hours: dict[int, list[tuple[int, int]]] = {}
        for part in text.lower().split(","):
            match = _PART.fullmatch(part.strip())
            if match is None:
                raise ValueError(text)
            first = WEEKDAYS.index(match["first"])
            last = WEEKDAYS.index(match["last"] or match["first"])
            opens, closes = _minutes(match["opens"]), _minutes(match["closes"])
            if not opens < closes <= _MINUTES_OF_A_DAY:
                raise ValueError(text)
            for weekday in range(first, last + 1 + (7 if last < first else 0)):
                hours.setdefault(weekday % 7, []).append((opens, closes))
        spans = [
            (weekday, time(opens // 60, opens % 60), timedelta(minutes=closes - opens))
            for weekday, found in sorted(hours.items())
            for opens, closes in _joined(found)
        ]
        return cls(tuple(spans), timezone)

    @property
    def week(self) -> timedelta:
        """How long it is open in a week."""
        return sum((length for _, _, length in self.spans), timedelta())

    def between(self, first: date, last: date) -> pd.DataFrame:
        """The opening times on the days from `first` to `last`: opens_at, closes_at in UTC.

        They are wall-clock times, so a span over a change to or from summer time is an hour shorter
        or longer than usual.
        """
        zone = ZoneInfo(self.timezone)
        rows = []
        for offset in range((last - first).days + 1):
            day = first + timedelta(days=offset)
            for weekday, opens, length in self.spans:
                if day.weekday() == weekday:
                    opens_at = datetime.combine(day, opens)
                    closes_at = opens_at + length
                    rows.append((opens_at.replace(tzinfo=zone), closes_at.replace(tzinfo=zone)))
        moments = {
            "opens_at": [opens_at for opens_at, _ in rows],
            "closes_at": [closes_at for _, closes_at in rows],
        }
        return pd.DataFrame({name: pd.to_datetime(at, utc=True) for name, at in moments.items()})


def _joined(hours: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same hours without overlaps, whose minutes would count twice."""
    joined: list[tuple[int, int]] = []
    for opens, closes in sorted(hours):
        if joined and opens <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], closes))
        else:
            joined.append((opens, closes))
    return joined


def _minutes(text: str) -> int:
    hour, minute = map(int, text.split(":"))
    return hour * 60 + minute
