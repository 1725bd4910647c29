"""The facts in plain Python, from what was observed of each conversation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from zipchat_dagster.warehouse.derive import Rules
from zipchat_dagster_tests.warehouse.support import Story

Row = dict[str, Any]
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(eq=False)
class Escalation:
    at: datetime
    resolved: datetime | None = None
    superseded: datetime | None = None
    ended: datetime | None = None
    wait_ended: datetime | None = None
    response: Row | None = None
    assignees: list[int] = field(default_factory=list)  # while it ran
    assignee: int | None = None
    replies: list[Row] = field(default_factory=list)


@dataclass(eq=False)
class Turn:
    first: Row
    during: Escalation | None
    messages: int = 0
    answer: Row | None = None
    answer_during: Escalation | None = None


class ByHand:
    """All facts of a story's raw tables at its present time.

    Args:
        office: the business hours of `rules` as text.
    """

    def __init__(self, story: Story, rules: Rules, office: str | None) -> None:
        self.now, self.rules = story.now, rules
        self.zone = ZoneInfo(story.warehouse.timezone)
        self.chat_id = story.chat.chat_id
        self.spans = list(opening_times(office, self.zone)) if office else None
        conversations = story.dicts("from zipchat.raw_conversations")
        self.conversations = {row["conversation_id"]: row for row in conversations}
        self.messages = grouped(story, "raw_messages", "created_at, message_id")
        self.history = grouped(story, "conversation_history", "observed_at")
        self.coverage = grouped(story, "message_coverage", "observed_at")
        self.tables: dict[str, list[Row]] = defaultdict(list)
        for row in conversations:
            self._walk(row)

    def _walk(self, conversation: Row) -> None:
        key = conversation["conversation_id"]
        messages = [{**row, "author": author(row)} for row in self.messages[key]]
        escalations = self._escalations(conversation, messages)

        def running(message: Row) -> Escalation | None:
            for one in reversed(escalations):
                if one.at <= message["created_at"]:
                    is_over = one.ended is not None and (
                        message["created_at"] >= one.ended
                        if message["author"] != "human"
                        else message["created_at"] > one.ended
                    )
                    return None if is_over else one
            return None

        turns: list[Turn] = []
        is_asking = False
        for message in messages:
            during = running(message)
            match message["author"]:
                case "customer":
                    if not is_asking:
                        turns.append(Turn(message, during))
                    turns[-1].messages += 1
                    is_asking = True
                    continue
                case "human" if during:
                    during.replies.append(message)
                case "ai" if during:
                    continue
                case None:
                    continue
            if turns and turns[-1].answer is None:
                turns[-1].answer, turns[-1].answer_during = message, during
            is_asking = False
        self._store(conversation, messages, escalations, turns)

    def _escalations(self, conversation: Row, messages: Sequence[Row]) -> list[Escalation]:
        states = self.history[conversation["conversation_id"]]
        times = sorted({s["last_escalated_at"] for s in states} - {None})
        found = [Escalation(at) for at in times]
        for resolved in sorted({s["last_escalation_resolved_at"] for s in states} - {None}):
            before = [one for one in found if one.at < resolved]
            same = [one for one in found if one.at == resolved]
            if same and not (before and before[-1].resolved is None):
                same[0].resolved = resolved
            elif before and before[-1].resolved is None:
                before[-1].resolved = resolved
        gone = conversation["missing_since"]
        for number, one in enumerate(found):
            following = found[number + 1] if number + 1 < len(found) else None
            if one.resolved is None and following:
                one.superseded = following.at
            one.ended = earliest(one.resolved, one.superseded, gone)
            closing = next((later.resolved for later in found[number:] if later.resolved), None)
            one.wait_ended = earliest(closing, gone)
            for message in messages:
                if (
                    message["author"] == "human"
                    and message["created_at"] >= one.at
                    and not (closing and message["created_at"] > closing)
                    and not (one.resolved and following and message["created_at"] >= following.at)
                ):
                    one.response = message
                    break
            late: list[int] = []
            for state in states:
                if state["last_escalated_at"] == one.at and state["assignee_id"] is not None:
                    over = state["last_escalation_resolved_at"]
                    is_over = bool(one.resolved and over and over >= one.resolved)
                    (late if is_over else one.assignees).append(state["assignee_id"])
            one.assignee = next(iter([*one.assignees[-1:], *late[:1]]), None)
        return found

    def _store(
        self,
        conversation: Row,
        messages: Sequence[Row],
        escalations: Sequence[Escalation],
        turns: Sequence[Turn],
    ) -> None:
        common = {
            "chat_id": self.chat_id,
            "conversation_id": conversation["conversation_id"],
            "channel": conversation["channel"],
        }
        for number, turn in enumerate(turns, start=1):
            self.tables["customer_turns"].append(common | self._turn(turn, number))
        for one in escalations:
            events = list(self._events(one, turns))
            self.tables["sla_events"] += [common | event for event in events]
            self.tables["escalations"].append(
                common | self._escalation(conversation, messages, turns, one, events)
            )
        self.tables["conversation_facts"].append(
            common | self._facts(conversation, messages, escalations, turns)
        )

    def _turn(self, turn: Turn, number: int) -> Row:
        asked, answer = turn.first["created_at"], turn.answer
        by = answer["author"] if answer else None
        return {
            "turn": number,
            "partition_date": self._day(asked),
            "asked_at": asked,
            "customer_messages": turn.messages,
            "answered_at": answer and answer["created_at"],
            "answered_by": by,
            "sender_id": answer["sender_id"] if answer and by == "human" else None,
            "answer_seconds": seconds(asked, answer and answer["created_at"]),
            "answer_business_seconds": (
                self._business(asked, answer["created_at"]) if answer and by == "human" else None
            ),
            "escalated_at": turn.during and turn.during.at,
        }

    def _events(self, one: Escalation, turns: Sequence[Turn]) -> Iterator[Row]:
        rules = self.rules
        response = one.response
        yield self._event(
            one,
            "first_response",
            rules.response_target_seconds,
            one.at,
            response["created_at"] if response else one.wait_ended,
            is_kept=response is not None,
            agent=response and response["sender_id"],
        )
        for number, turn in enumerate(turns, start=1):
            if turn.during is one and response and order(turn.first) > order(response):
                answer = turn.answer if turn.answer_during is one else None
                yield self._event(
                    one,
                    "next_response",
                    rules.next_response_target_seconds,
                    turn.first["created_at"],
                    answer["created_at"] if answer else one.ended,
                    is_kept=answer is not None,
                    agent=answer and answer["sender_id"],
                    turn=number,
                )
        yield self._event(
            one,
            "resolution",
            rules.resolution_target_seconds,
            one.at,
            one.ended,
            is_kept=one.resolved is not None,
            agent=None,
        )

    def _event(
        self,
        one: Escalation,
        metric: str,
        target: float | None,
        starts: datetime,
        ended: datetime | None,
        *,
        is_kept: bool,
        agent: int | None,
        turn: int | None = None,
    ) -> Row:
        until = ended or max(self.now, starts)
        elapsed, business = seconds(starts, until), self._business(starts, until)
        return {
            "escalated_at": one.at,
            "metric": metric,
            "turn": turn,
            "partition_date": self._day(starts),
            "agent_id": one.assignee if agent is None else agent,
            "starts_at": starts,
            "ended_at": ended,
            "is_kept": is_kept,
            "target_seconds": target,
            "breach_at": target and starts + timedelta(seconds=target),
            "elapsed_seconds": elapsed,
            "is_active": ended is None,
            "is_breached": target and elapsed > target,
            "business_breach_at": target and self._business_end(starts, target),
            "elapsed_business_seconds": business,
            "is_business_breached": (
                None if target is None or business is None else business > target
            ),
        }

    def _escalation(
        self,
        conversation: Row,
        messages: Sequence[Row],
        turns: Sequence[Turn],
        one: Escalation,
        events: Sequence[Row],
    ) -> Row:
        response = one.response
        responded = response and response["created_at"]
        heard = [m["created_at"] for m in messages if m["author"] == "customer"]
        is_silent = max([one.at, *heard]) < self.now - timedelta(hours=24)
        changes = pairwise(one.assignees)
        return {
            "escalated_at": one.at,
            "partition_date": self._day(one.at),
            "resolved_at": one.resolved,
            "assignee_id": one.assignee,
            "first_response_at": responded,
            "first_responder_id": response and response["sender_id"],
            "superseded_at": one.superseded,
            "ended_at": one.ended,
            "is_open": one.ended is None,
            "turns_before": sum(turn.first["created_at"] < one.at for turn in turns),
            "seconds_to_escalation": seconds(conversation["created_at"], one.at),
            "first_response_seconds": seconds(one.at, responded),
            "first_response_business_seconds": responded and self._business(one.at, responded),
            "resolution_seconds": seconds(one.at, one.resolved),
            "resolution_business_seconds": one.resolved and self._business(one.at, one.resolved),
            "replies": len(one.replies),
            "agents": len({m["sender_id"] for m in one.replies} - {None}),
            "reassignments": sum(old != new for old, new in changes),
            "customer_wait_seconds": sum(
                event["elapsed_seconds"] for event in events if event["metric"] != "resolution"
            ),
            "is_one_touch": one.resolved is not None and len(one.replies) == 1,
            "is_abandoned": response is None and (one.wait_ended is not None or is_silent),
        }

    def _facts(
        self,
        conversation: Row,
        messages: Sequence[Row],
        escalations: Sequence[Escalation],
        turns: Sequence[Turn],
    ) -> Row:
        answers = [turn.answer["author"] if turn.answer else None for turn in turns]
        reopened = [(new.at, old.resolved) for old, new in pairwise(escalations) if old.resolved]
        return {
            "partition_date": conversation["partition_date"],
            "created_at": conversation["created_at"],
            "is_complete": self._is_complete(conversation),
            **self._written(messages),
            "customer_turns": len(turns),
            "turns_answered_by_ai": answers.count("ai"),
            "turns_answered_by_human": answers.count("human"),
            "turns_unanswered": answers.count(None),
            "first_ai_answer_seconds": next(
                (
                    seconds(turn.first["created_at"], turn.answer["created_at"])
                    for turn in turns
                    if turn.answer and turn.answer["author"] == "ai"
                ),
                None,
            ),
            "escalations": len(escalations),
            "first_escalated_at": escalations[0].at if escalations else None,
            "last_escalated_at": escalations[-1].at if escalations else None,
            "last_resolved_at": max((e.resolved for e in escalations if e.resolved), default=None),
            "is_open": any(e.ended is None for e in escalations),
            "reopened_at": reopened[0][0] if reopened else None,
            "reopened_after_seconds": seconds(reopened[0][1], reopened[0][0]) if reopened else None,
            **self._automation(conversation, messages, escalations),
        }

    def _written(self, messages: Sequence[Row]) -> Row:
        by: dict[Any, list[datetime]] = defaultdict(list)
        for message in messages:
            by[message["author"]].append(message["created_at"])
        return {
            "customer_messages": len(by["customer"]),
            "ai_messages": len(by["ai"]),
            "human_messages": len(by["human"]),
            "agents": len({m["sender_id"] for m in messages if m["author"] == "human"} - {None}),
            "first_customer_message_at": min(by["customer"], default=None),
            "last_customer_message_at": max(by["customer"], default=None),
            "first_human_answer_at": min(by["human"], default=None),
            "last_message_at": messages[-1]["created_at"] if messages else None,
            "last_author": messages[-1]["author"] if messages else None,
        }

    def _automation(
        self, conversation: Row, messages: Sequence[Row], escalations: Sequence[Escalation]
    ) -> Row:
        authors = [message["author"] for message in messages]
        has_asked = "customer" in authors
        is_involved = has_asked and "ai" in authors[authors.index("customer") :]
        is_alone = (
            is_involved and authors[-1] == "ai" and "human" not in authors and not escalations
        )
        last = messages[-1]["created_at"] if messages else self.now
        is_quiet = last + timedelta(hours=self.rules.quiet_hours) <= self.now
        lead = conversation["lead_id"]
        of_lead = [c for c in self.conversations.values() if c["lead_id"] == lead]
        first = min(of_lead, key=lambda c: (c["created_at"], c["conversation_id"]))
        return {
            "lead_id": lead,
            "is_first_of_lead": lead and conversation == first,
            "is_ai_involved": is_involved,
            "is_automation_pending": is_alone and not is_quiet,
            "is_automated": is_alone and is_quiet,
            "repeat_contact_at": (
                self._repeat(of_lead, conversation, last)
                if lead and is_alone and is_quiet
                else None
            ),
        }

    def _repeat(self, of_lead: Sequence[Row], conversation: Row, last: datetime) -> datetime | None:
        contacts = [
            message["created_at"]
            for other in of_lead
            if other is not conversation
            for message in self.messages[other["conversation_id"]]
            if author(message) == "customer"
            and last < message["created_at"] <= last + timedelta(days=7)
        ]
        return min(contacts, default=None)

    def _is_complete(self, conversation: Row) -> bool:
        for row in self.coverage[conversation["conversation_id"]]:
            newest = conversation["last_message_at"] or row["covered_through"]
            return bool(
                row["covered_through"]
                and row["covered_through"] >= newest
                and row["covered_from"] <= conversation["created_at"]
            )
        return False

    def _day(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def _business(self, since: datetime, until: datetime) -> float | None:
        if self.spans is None:
            return None
        overlaps = ((max(since, o), min(until, c)) for o, c in self.spans)
        return sum(max(0.0, (end - begin).total_seconds()) for begin, end in overlaps)

    def _business_end(self, since: datetime, target: float) -> datetime | None:
        if self.spans is None:
            return None
        left = target
        for opens, closes in self.spans:
            begins = max(since, opens)
            length = (closes - begins).total_seconds()
            if length >= left:
                return begins + timedelta(seconds=left)
            left -= max(0.0, length)
        raise AssertionError("the opening times end too early")


def opening_times(office: str, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """Those of 2026, in UTC."""
    for number in range(365):
        day = date(2026, 1, 1) + timedelta(days=number)
        for part in office.split(", "):
            days, hours = part.split()
            first, last = WEEK.index(days[:3]), WEEK.index(days[-3:])
            if first <= day.weekday() <= last:
                opens, closes = hours.split("-")
                yield wall(day, opens, zone), wall(day, closes, zone)


def wall(day: date, clock: str, zone: ZoneInfo) -> datetime:
    hour, minute = map(int, clock.split(":"))
    local = datetime.combine(day, time()) + timedelta(hours=hour, minutes=minute)
    return local.replace(tzinfo=zone).astimezone(UTC)


def author(message: Row) -> str | None:
    if message["manual_reply"]:
        return "human"
    return {"user": "customer", "assistant": "ai"}.get(message["role"])


def order(message: Row) -> tuple[datetime, int]:
    return message["created_at"], message["message_id"]


def seconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else (until - since).total_seconds()


def earliest(*times: datetime | None) -> datetime | None:
    return min((at for at in times if at is not None), default=None)


def grouped(story: Story, table: str, sorted_by: str) -> dict[int, list[Row]]:
    """The rows of each conversation, in order."""
    found = defaultdict(list)
    for row in story.dicts(f"from zipchat.{table} order by {sorted_by}"):
        found[row["conversation_id"]].append(row)
    return found
