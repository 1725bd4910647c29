"""The charts: inline SVG for the page, one PNG for Dagster's UI, both by matplotlib.

Charts are laid out for a phone, 320 units to a line: about one CSS pixel each there. On a wider
screen they grow and the page makes their text smaller, so that it stays in proportion. Text stays
text and takes the page's font; colours become the page's CSS variables, so that a chart follows
its light or dark scheme. The same numbers give the same bytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from zipchat_dagster.report import formats
from zipchat_dagster.report.numbers import Number, Numbers, number

# name: (light scheme, dark scheme). Blue and orange stay apart for every kind of colour vision.
PALETTE: Final = {
    "page": ("#f5f6f8", "#12161c"),
    "card": ("#ffffff", "#1b212a"),
    "ink": ("#1d2733", "#e8ecf1"),
    "muted": ("#5f6b7a", "#9aa7b5"),
    "grid": ("#e3e7ec", "#303946"),
    "blue": ("#2b6cb0", "#6aa9ec"),
    "blue-soft": ("#c3d9ef", "#2f4d6e"),
    "orange": ("#c05a00", "#f0953f"),
}
_LIGHT: Final = {name: light for name, (light, _) in PALETTE.items()}
INK, MUTED, GRID = _LIGHT["ink"], _LIGHT["muted"], _LIGHT["grid"]
BLUE, BLUE_SOFT, ORANGE = _LIGHT["blue"], _LIGHT["blue-soft"], _LIGHT["orange"]

WIDTH: Final = 320.0  # units
ROW: Final = 26.0  # units, one row of a chart of bars
NAME: Final = 18.0  # units, a name on a line of its own
LETTER: Final = 6.6  # units, on the wide side
AGENTS_SHOWN: Final = 8  # in the chart; the table has all

_RC: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "zipchat_dagster",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, and is wider than most
    "font.size": 11.5,
    "text.parse_math": False,  # an agent may be called $x$
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.solid_capstyle": "round",
    "path.simplify": False,
}
# Seconds: far apart, and for a narrow range.
_WIDE_TICKS: Final = (1, 10, 60, 600, 3600, 21600, *(86400 * n for n in (1, 7, 30, 180)))
_NARROW_TICKS: Final = (
    *(1, 2, 5, 10, 20, 30),
    *(60 * n for n in (1, 2, 5, 10, 20, 30)),
    *(3600 * n for n in (1, 2, 4, 8, 12)),
    *(86400 * n for n in (1, 2, 4, 7, 14, 30, 60, 120, 240, 480, 960)),
)


@dataclass(frozen=True)
class Panel:
    """One column of a chart of bars: per row, the stacked parts (a colour each) and its label."""

    title: str
    parts: Sequence[tuple[str, Sequence[Number]]]
    labels: Sequence[str]


def volume_chart(numbers: Numbers) -> Markup | None:
    """Bars: active conversations, those escalated within; below, the rate as a line."""
    steps = numbers.steps
    if not steps["conversations_active"].sum():
        return None
    with _settings():
        figure, at = _figure(228), range(len(steps))
        bars = _axes(figure, top=8, height=112)
        for column, colour in (
            ("conversations_active", BLUE_SOFT),
            ("escalated_conversations", ORANGE),
        ):
            bars.bar(at, steps[column], width=0.74, color=colour, clip_on=False)
        bars.set_ylim(0, steps["conversations_active"].max() * 1.04)
        _count_axis(bars)
        _day_axis(bars, steps, labelled=False)
        rate = _axes(figure, top=150, height=54)
        _line(rate, steps["escalation_rate"] * 100, ORANGE)
        rate.set_ylim(0, max(steps["escalation_rate"].max() * 105, 1))
        rate.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        rate.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0f}%"))
        _day_axis(rate, steps)
        _caption(figure, "Escalation rate", top=143)
        return _svg(figure, "volume", f"Active and escalated conversations per {step(numbers)}")


def times_chart(numbers: Numbers, kind: str, what: str) -> Markup | None:
    """Per day the median as a dot and up to the 90th percentile as a bar, on a log scale.

    Args:
        kind: `first_response` or `resolution`, as in the names of the columns.
        what: what takes that long, for the label that screen readers read.
    """
    p50, p90 = (numbers.steps[f"{kind}_seconds_{p}"].clip(lower=1) for p in ("p50", "p90"))
    median = numbers.totals[f"{kind}_seconds_p50"]
    if median is None or not p50.notna().any():
        return None
    with _settings():
        figure, at = _figure(190), np.arange(len(p50))
        axes = _axes(figure, left=48, top=8, height=158)
        axes.set_yscale("log")
        low, high = min(p50.min(), median), max(p90.max(), median)
        axes.set_ylim(max(low, 1) / 1.7, max(high, 1) * 1.5)
        ticks = _duration_ticks(*axes.get_ylim())
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: formats.duration(y)))
        axes.yaxis.set_minor_locator(NullLocator())
        width = min(7.0, 0.6 * 264 / len(p50))
        is_span = p50.notna().to_numpy()
        axes.vlines(
            at[is_span],
            p50[is_span],
            p90[is_span],
            colors=BLUE_SOFT,
            linewidth=width,
            capstyle="round",
        )
        axes.axhline(max(median, 1), color=ORANGE, linewidth=1.2, dashes=(3, 3))
        axes.plot(
            at,
            p50,
            "o",
            color=BLUE,
            markersize=max(width * 0.85, 3),
            markeredgewidth=0,
            clip_on=False,
        )
        _day_axis(axes, numbers.steps)
        return _svg(figure, kind, f"{what} per {step(numbers)}: median and 90th percentile")


def channels_chart(numbers: Numbers) -> Markup | None:
    """Bars per channel: escalations and the escalation rate."""
    channels = numbers.channels
    if channels.empty:
        return None
    return _bars(
        "channels",
        "Escalations and escalation rate by channel",
        list(channels["channel"]),
        [
            _panel("Escalations", channels["escalations"], BLUE, formats.count),
            _panel("Escalation rate", channels["escalation_rate"], ORANGE, formats.percent),
        ],
    )


def agents_chart(numbers: Numbers) -> Markup | None:
    """Bars per agent: escalations, messages written, median first response."""
    is_named = numbers.agents["agent_id"].notna()
    agents = pd.concat([numbers.agents[is_named].head(AGENTS_SHOWN), numbers.agents[~is_named]])
    if agents.empty:
        return None
    return _bars(
        "agents",
        "Escalations, messages and median first response by agent",
        list(agents["name"]),
        [
            _panel("Escalations", agents["escalations"], BLUE, formats.count),
            _panel("Messages", agents["human_messages"], BLUE_SOFT, formats.count),
            _panel(
                "First response", agents["first_response_seconds_p50"], ORANGE, formats.duration
            ),
        ],
        names_width=None,
    )


def backlog_chart(numbers: Numbers) -> Markup | None:
    """Bars per bucket of age: open escalations, without an answer and answered."""
    backlog = numbers.backlog
    if not backlog["open_now"].sum():
        return None
    unanswered = _values(backlog["unanswered"])
    answered = _values(backlog["open_now"] - backlog["unanswered"])
    labels = [formats.count(value) for value in _values(backlog["open_now"])]
    panel = Panel("", [(ORANGE, unanswered), (BLUE, answered)], labels)
    return _bars(
        "backlog", "Open escalations by age", list(backlog["age"]), [panel], names_width=58
    )


def backlog_line(numbers: Numbers) -> Markup | None:
    """The number of open escalations at the end of each day (or step), the last one labelled."""
    open_at_end = numbers.steps["backlog_at_end"]
    if not open_at_end.sum():
        return None
    with _settings():
        figure = _figure(150)
        axes = _axes(figure, top=8, height=118, right=WIDTH - 32)
        at = range(len(open_at_end))
        axes.fill_between(at, open_at_end, color=BLUE_SOFT, linewidth=0)
        _line(axes, open_at_end, BLUE)
        axes.set_ylim(0, open_at_end.max() * 1.08)
        _count_axis(axes)
        _day_axis(axes, numbers.steps)
        end = open_at_end.last_valid_index()
        axes.annotate(
            formats.count(number(open_at_end[end])),
            (end, open_at_end[end]),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=BLUE,
            fontweight="bold",
        )
        return _svg(figure, "backlog-line", "Open escalations at the end of the day")


def summary_png(numbers: Numbers) -> bytes:
    """The headline numbers above the escalations by day, for places that cannot show the page."""
    totals, steps = numbers.totals, numbers.steps
    with _settings():
        figure = Figure(figsize=(7.2, 2.7), facecolor="white")
        headlines = (
            ("Escalations", formats.count(totals["escalations"])),
            ("Escalation rate", formats.percent(totals["escalation_rate"])),
            ("Contained by AI", formats.percent(totals["containment_rate"])),
            ("First response", formats.duration(totals["first_response_seconds_p50"])),
            ("Open now", formats.count(totals["open_now"])),
        )
        for column, (label, value) in enumerate(headlines):
            left = 0.045 + column * 0.196
            figure.text(left, 0.9, label, fontsize=9, color=MUTED, va="center")
            figure.text(left, 0.765, value, fontsize=17, fontweight="bold", va="center")
        axes = figure.add_axes((0.045, 0.12, 0.91, 0.45))
        axes.patch.set_visible(False)
        axes.set_xlim(-0.6, len(steps) - 0.4)
        axes.bar(range(len(steps)), steps["escalations"].fillna(0), width=0.72, color=BLUE)
        axes.set_ylim(0, max(steps["escalations"].max(), 1) if steps["escalations"].any() else 1)
        _count_axis(axes)
        _day_axis(axes, steps)
        what = "No conversations" if numbers.is_empty else f"Escalations per {step(numbers)}"
        title = f"{what}, {formats.days(numbers.first, numbers.last)}"
        figure.text(0.045, 0.625, title, fontsize=9, color=MUTED, va="center")
        file = BytesIO()
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None})
        return file.getvalue()


def step(numbers: Numbers) -> str:
    """The length of one step over time: `day`, `week` or `four weeks`."""
    return {1: "day", 7: "week", 28: "four weeks"}[numbers.step_days]


@contextmanager
def _settings() -> Iterator[None]:
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # not what this machine's matplotlibrc says
        mpl.rcParams.update(_RC)
        # The measuring font may lack the letters of a name; the reader's browser has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def _figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH / 72, height / 72))


def _axes(
    figure: Figure, *, top: float, height: float, left: float = 36, right: float = WIDTH - 4
) -> Axes:
    """Axes at a place given in units from the left and top edge of the figure."""
    total = figure.get_figheight() * 72
    axes = figure.add_axes(
        (left / WIDTH, (total - top - height) / total, (right - left) / WIDTH, height / total)
    )
    axes.patch.set_visible(False)
    return axes


def _caption(figure: Figure, text: str, *, top: float, left: float = 0) -> None:
    height = figure.get_figheight() * 72
    figure.text(left / WIDTH, 1 - top / height, text, color=MUTED, va="bottom")


def _line(axes: Axes, values: pd.Series[float], colour: str) -> None:
    """A line with gaps where values are missing; a single point between gaps is drawn as a dot."""
    size = 3.4 if len(values) <= 40 else 0
    axes.plot(range(len(values)), values, "-", color=colour, linewidth=1.6, clip_on=False)
    alone = values.notna() & values.shift(1).isna() & values.shift(-1).isna()
    dots = values if size else values.where(alone)
    axes.plot(
        range(len(values)),
        dots,
        "o",
        color=colour,
        markersize=size or 3,
        markeredgewidth=0,
        clip_on=False,
    )


def _count_axis(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda y, _: f"{y / 1000:g}k" if y >= 10_000 else f"{y:,.0f}")
    )


def _day_axis(axes: Axes, steps: pd.DataFrame, *, labelled: bool = True) -> None:
    """Days along the bottom, horizontal grid lines behind, no frame."""
    axes.set_xlim(-0.6, len(steps) - 0.4)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=5)
    ticks = _day_ticks([pd.Timestamp(day).date() for day in steps["first_day"]]) if labelled else []
    axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks])


def _day_ticks(days: Sequence[date]) -> list[tuple[int, str]]:
    """At most six (position, text): days, Mondays, or the first step of a month or year."""
    # Only the first step can be shorter than the others.
    is_daily = len(days) == 1 or (days[-1] - days[-2]).days == 1
    if is_daily and len(days) <= 14:
        every = -(-len(days) // 5)
        return [(at, formats.day(days[at])) for at in range(0, len(days), every)]
    if is_daily:
        mondays = [at for at, day in enumerate(days) if day.weekday() == 0]
        return [(at, formats.day(days[at])) for at in mondays[:: -(-len(mondays) // 5)]]
    starts = [at for at in range(1, len(days)) if days[at].month != days[at - 1].month]
    every = next(months for months in (1, 2, 3, 6, 12, 24, 60, 120) if len(starts) <= 6 * months)
    # Whole years are labelled at their first step.
    if every >= 12:
        starts = [at for at in starts if days[at].year != days[at - 1].year]
        return [(at, str(days[at].year)) for at in starts[:: every // 12]]
    if len({day.year for day in days}) == 1:
        return [(at, formats.month(days[at])) for at in starts[::every]]
    return [(at, f"{formats.month(days[at])} {days[at].year % 100:02}") for at in starts[::every]]


def _duration_ticks(low: float, high: float) -> list[float]:
    """Round durations inside the limits, a handful."""
    wide, narrow = (
        [float(tick) for tick in ticks if low <= tick <= high]
        for ticks in (_WIDE_TICKS, _NARROW_TICKS)
    )
    return wide if len(wide) >= 3 else narrow[:: 1 + (len(narrow) - 1) // 5]


def _panel(
    title: str, values: pd.Series[Any], colour: str, words: Callable[[Number], str]
) -> Panel:
    plain = _values(values)
    return Panel(title, [(colour, plain)], [words(value) for value in plain])


def _values(values: pd.Series[Any]) -> list[Number]:
    return [number(value) for value in values]


def _bars(
    key: str,
    description: str,
    names: Sequence[str],
    panels: Sequence[Panel],
    *,
    names_width: float | None = 92,
) -> Markup:
    """Rows of labelled horizontal bars, with a column for each panel.

    Args:
        names_width: units for the names left of the bars; None puts them on lines of their own.
    """
    head = 22.0 if any(panel.title for panel in panels) else 2.0
    row_height = ROW if names_width else ROW + NAME
    height = head + row_height * len(names)
    start = names_width or 0.0
    width = (WIDTH - start) / len(panels)
    with _settings():
        figure = _figure(height)
        for row, name in enumerate(names):
            middle = head + row_height * row + (ROW / 2 if names_width else 12)
            text = _shortened(name, names_width or WIDTH)
            figure.text(0, 1 - middle / height, text, va="center_baseline")
        for column, panel in enumerate(panels):
            left = start + column * width
            _caption(figure, panel.title, top=14, left=left)
            right = left + width - 12
            axes = _axes(figure, top=head, height=height - head, left=left, right=right)
            axes.set_axis_off()
            axes.set_ylim(height - head, 0)
            middles = [row_height * (row + 1) - ROW / 2 for row in range(len(names))]
            _draw_panel(axes, panel, middles, room=width - 12)
        return _svg(figure, key, description)


def _draw_panel(axes: Axes, panel: Panel, middles: Sequence[float], *, room: float) -> None:
    ends = np.zeros(len(middles))
    for colour, values in panel.parts:
        lengths = np.array([value or 0 for value in values], dtype=float)
        axes.barh(middles, lengths, left=ends, height=ROW / 2, color=colour)
        ends += lengths
    # Leave room for the label of the longest bar.
    label = 8 + LETTER * max(map(len, panel.labels))
    axes.set_xlim(0, (ends.max() or 1) / (1 - min(label / room, 0.85)))
    for end, middle, text in zip(ends, middles, panel.labels, strict=True):
        axes.annotate(
            text,
            (end, middle),
            xytext=(5 if end else 0, 0),
            textcoords="offset points",
            va="center_baseline",
        )


def _shortened(name: str, width: float) -> str:
    """On one line, without control characters, and cut to the width."""
    name = "".join(letter for letter in " ".join(name.split()) if letter.isprintable())
    letters = int(width / LETTER)
    return name if len(name) <= letters else name[: letters - 1].rstrip() + "…"


def _svg(figure: Figure, key: str, description: str) -> Markup:
    """The figure as an SVG element for the middle of a page."""
    file = BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue().decode()
    text = text[text.index("<svg") :]
    dropped = r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->"
    text = re.sub(dropped, "", text, flags=re.DOTALL)
    # Several charts share a page: only ids that are referred to are kept, with the chart's prefix.
    used = set(re.findall(r'(?:href="#|url\(#)([\w.-]+)', text))

    def adapt(match: re.Match[str]) -> str:
        tag = match[0].replace("xlink:href", "href")
        if tag.startswith("<svg"):
            box = re.search(r' viewBox="[^"]+"', tag)
            assert box
            return f'<svg{box[0]} role="img" aria-label="{escape(description)}">'
        tag = re.sub(
            r' id="([^"]*)"', lambda found: f' id="{key}-{found[1]}"' * (found[1] in used), tag
        )
        tag = re.sub(r'(href="#|url\(#)', rf"\g<1>{key}-", tag)
        for name, light in _LIGHT.items():
            tag = tag.replace(light, f"var(--{name})")
        return tag

    # Only in tags: the text between them may contain anything, such as an agent's name.
    text = re.sub(r"<[^>]*>", adapt, text)
    text = re.sub(r"<g>\s*</g>|<defs>\s*</defs>", "", text)
    return Markup(re.sub(r"\s*\n\s*", "\n", text).strip())  # noqa: S704 - matplotlib escapes text
