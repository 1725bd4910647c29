"""The metrics of a day with pandas, from the facts that `ByHand` computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from zipchat_dagster_tests.warehouse.facts_by_hand import ByHand
from zipchat_dagster_tests.warehouse.support import RandomChat

Figures = dict[str, float | None]
# An agent has no share in what happens before a person takes over.
NOT_OF_AGENTS = (
    *("conversations_started", "conversations_active", "customer_messages", "ai_messages"),
    *("escalation_rate", "containment_rate"),
)


@dataclass(frozen=True)
class Slice:
    """What happened on a day; all of it, or what belongs to one channel or agent."""

    conversations: pd.DataFrame  # that began
    messages: pd.DataFrame
    escalations: pd.DataFrame
    next_responses: pd.DataFrame  # to questions of the day
    backlog: pd.DataFrame  # escalations that were open at its end

    def of(self, dimension: str, value: str) -> Slice:
        if dimension == "all":
            return self
        return Slice(*(frame[frame[dimension] == value] for frame in vars(self).values()))

    def values(self, dimension: str) -> set[tuple[str, str]]:
        """The channels or agents that occur."""
        found = (set(frame[dimension].dropna()) for frame in vars(self).values())
        return {(dimension, value) for value in set().union(*found)}


class MetricsByHand:
    """All metrics of a random chat at its present time."""

    def __init__(self, chat: RandomChat) -> None:
        story = chat.story
        self.zone = story.warehouse.timezone
        self.now = pd.Timestamp(story.now)
        self.target = chat.rules.response_target_seconds
        facts = ByHand(story, chat.rules, chat.office)
        escalations, events = (frame_of(facts.tables[n]) for n in ("escalations", "sla_events"))
        responsible = escalations["assignee_id"].fillna(escalations["first_responder_id"])
        is_further = escalations["conversation_id"].duplicated()  # they are in order
        self.escalations = with_agent(escalations.assign(is_further=is_further), responsible)
        is_response = (events["metric"] == "next_response") & events["is_kept"]
        self.next_responses = with_agent(events, events["agent_id"])[is_response]
        self.conversations = frame_of([*facts.conversations.values()]).assign(agent=None)
        messages = frame_of([row for rows in facts.messages.values() for row in rows])
        is_human = messages["manual_reply"] == True  # noqa: E712 - it can be NULL
        messages = with_agent(messages.assign(is_human=is_human), messages["sender_id"])
        messages["agent"] = messages["agent"].where(is_human, None)
        channels = self.conversations.set_index("conversation_id")["channel"]
        self.messages = messages.assign(channel=messages["conversation_id"].map(channels))

    def of_day(self, day: str) -> dict[tuple[str, str], Figures]:
        """The columns of each slice, by dimension and value."""
        starts = pd.Timestamp(day, tz=self.zone)
        ends = starts + pd.DateOffset(days=1)

        def on_day(frame: pd.DataFrame, column: str) -> pd.DataFrame:
            return frame[(frame[column] >= starts) & (frame[column] < ends)]

        whole = Slice(
            on_day(self.conversations, "created_at"),
            on_day(self.messages, "created_at"),
            on_day(self.escalations, "escalated_at"),
            on_day(self.next_responses, "starts_at"),
            self._open_before(ends)[: None if starts <= self.now else 0],
        )
        slices = {("all", "all"), *whole.values("channel"), *whole.values("agent")}
        by_people = whole.messages["conversation_id"][whole.messages["is_human"]]
        uncontained = {*whole.escalations["conversation_id"], *by_people}
        return {key: self._figures(whole.of(*key), uncontained, key[0]) for key in slices}

    def _open_before(self, ends: pd.Timestamp) -> pd.DataFrame:
        """The escalations that are open when a day ends, or now if that is earlier."""
        has_begun, is_over = (
            (self.escalations[column] < ends) & (self.escalations[column] <= self.now)
            for column in ("escalated_at", "ended_at")
        )
        found = self.escalations[has_begun & ~is_over]
        age = min(ends, self.now) - found["escalated_at"]
        return found.assign(age=age.dt.total_seconds())

    def _figures(self, it: Slice, uncontained: set[int], dimension: str) -> Figures:
        active = {*it.messages["conversation_id"], *it.escalations["conversation_id"]}
        escalated = it.escalations["conversation_id"].nunique()
        role, is_human = it.messages["role"], it.messages["is_human"]
        return {
            "conversations_started": len(it.conversations),
            "conversations_active": len(active),
            "escalation_rate": ratio(escalated, len(active)),
            "containment_rate": ratio(len(active - uncontained), len(active)),
            "customer_messages": (role == "user").sum(),
            "ai_messages": ((role == "assistant") & ~is_human).sum(),
            **(dict.fromkeys(NOT_OF_AGENTS) if dimension == "agent" else {}),
            "human_messages": is_human.sum(),
            **self._figures_of_escalations(it.escalations),
            **percentiles("next_response_seconds", it.next_responses["elapsed_seconds"], 50, 90),
            "backlog_at_day_end": len(it.backlog),
            "backlog_age_seconds_p50": percentile(it.backlog["age"], 50),
            "backlog_age_seconds_max": percentile(it.backlog["age"], 100),
        }

    def _figures_of_escalations(self, escalated: pd.DataFrame) -> Figures:
        response, resolution = (
            escalated[f"{name}_seconds"].astype(float) for name in ("first_response", "resolution")
        )
        found: Figures = {
            "escalated_conversations": escalated["conversation_id"].nunique(),
            "escalations": len(escalated),
            "reescalations": escalated["is_further"].sum(),
            "resolved": resolution.notna().sum(),
            "still_open": escalated["ended_at"].isna().sum(),
            "unanswered": response.isna().sum(),
            "resolution_rate": ratio(resolution.notna().sum(), len(escalated)),
            **percentiles("first_response_seconds", response, 50, 90, 95),
            **percentiles("resolution_seconds", resolution, 50, 90),
            "resolution_seconds_mean": ratio(resolution.sum(), resolution.count()),
            "one_touch": escalated["is_one_touch"].sum(),
            "abandoned": escalated["is_abandoned"].sum(),
        }
        for kind, shares in (("first_response", (50, 90, 95)), ("resolution", (50, 90))):
            name = f"{kind}_business_seconds"
            found |= percentiles(name, escalated[name], *shares)
        hours = response / 3600
        for low, high in ((0, 1), (1, 4), (4, 8), (8, 24), (24, np.inf)):
            name = {0: "under_1h", 24: "over_24h"}.get(low, f"{low}h_to_{high}h")
            found[f"responses_{name}"] = ((hours >= low) & (hours < high)).sum()
        return found | self._figures_of_target(escalated)

    def _figures_of_target(self, escalated: pd.DataFrame) -> Figures:
        if self.target is None:
            return dict.fromkeys(["answered_within_target_rate", "pending_within_target"])
        has_time_left = (self.now - escalated["escalated_at"]).dt.total_seconds() < self.target
        is_waiting = escalated["first_response_at"].isna() & escalated["ended_at"].isna()
        in_time = (escalated["first_response_seconds"].astype(float) <= self.target).sum()
        pending = (is_waiting & has_time_left).sum()
        return {
            "answered_within_target_rate": ratio(in_time, len(escalated) - pending),
            "pending_within_target": pending,
        }


def frame_of(rows: list[dict]) -> pd.DataFrame:
    """With times as such, and the channel `unknown` where there is none."""
    frame = pd.DataFrame(rows)
    for name in frame.columns:
        if name.endswith("_at"):
            frame[name] = pd.to_datetime(frame[name], utc=True)
    if "channel" in frame:
        frame["channel"] = frame["channel"].fillna("unknown")
    return frame


def with_agent(frame: pd.DataFrame, ids: pd.Series) -> pd.DataFrame:
    return frame.assign(agent=["unassigned" if pd.isna(i) else str(int(i)) for i in ids])


def ratio(over: float, under: float) -> float | None:
    return over / under if under else None


def percentile(values: pd.Series, percent: float) -> float | None:
    known = values.dropna().astype(float)
    return None if known.empty else float(np.percentile(known, percent))


def percentiles(name: str, values: pd.Series, *shares: int) -> Figures:
    return {f"{name}_p{share}": percentile(values, share) for share in shares}
