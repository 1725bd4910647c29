"""The raw columns behind each derived column, for Dagster's column lineage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import dagster as dg

_ESCALATED = "raw_conversations.last_escalated_at"
_RESOLVED = f"{_ESCALATED} raw_conversations.last_escalation_resolved_at"
_ENDED = f"{_RESOLVED} raw_conversations.missing_since"
_RESPONSE = f"{_RESOLVED} raw_messages.created_at raw_messages.manual_reply"
_REPLIES = f"{_ENDED} raw_messages.created_at raw_messages.manual_reply"
_WRITTEN = "raw_messages.role raw_messages.manual_reply raw_messages.created_at"
_TURNS = f"{_ENDED} {_WRITTEN}"

# Table → sources → the columns that come from them.
COLUMNS: Final[dict[str, dict[str, str]]] = {
    "escalations": {
        "raw_conversations.conversation_id": "conversation_id",
        "raw_conversations.channel": "channel",
        "raw_conversations.assignee_id": "assignee_id",
        _ESCALATED: "escalated_at partition_date",
        _RESOLVED: "resolved_at superseded_at resolution_seconds resolution_business_seconds",
        _ENDED: "ended_at is_open",
        _RESPONSE: "first_response_at first_response_seconds first_response_business_seconds",
        f"{_RESPONSE} raw_messages.sender_id": "first_responder_id",
        f"{_ESCALATED} {_WRITTEN}": "turns_before",
        f"{_ESCALATED} raw_conversations.created_at": "seconds_to_escalation",
        _REPLIES: "replies is_one_touch",
        f"{_REPLIES} raw_messages.sender_id": "agents",
        f"{_RESOLVED} raw_conversations.assignee_id": "reassignments",
        _TURNS: "customer_wait_seconds is_abandoned",
    },
    "customer_turns": {
        "raw_conversations.channel": "channel",
        _TURNS: "turn asked_at customer_messages answered_at answered_by answer_seconds"
        " answer_business_seconds escalated_at",
        f"{_TURNS} raw_messages.sender_id": "sender_id",
    },
    "sla_events": {
        "raw_conversations.channel": "channel",
        _ESCALATED: "escalated_at metric target_seconds",
        _WRITTEN: "turn",
        f"{_RESPONSE} raw_messages.sender_id raw_conversations.assignee_id": "agent_id",
        _TURNS: "starts_at ended_at is_kept breach_at elapsed_seconds is_active is_breached"
        " business_breach_at elapsed_business_seconds is_business_breached",
    },
    "conversation_facts": {
        "raw_conversations.created_at": "created_at",
        "raw_conversations.channel": "channel",
        "raw_conversations.lead_id": "lead_id",
        "raw_conversations.lead_id raw_conversations.created_at": "is_first_of_lead",
        "raw_conversations.created_at raw_conversations.last_message_at": "is_complete",
        "raw_messages.manual_reply raw_messages.sender_id": "agents",
        _ESCALATED: "escalations first_escalated_at last_escalated_at",
        _RESOLVED: "last_resolved_at reopened_at reopened_after_seconds",
        _ENDED: "is_open",
        _WRITTEN: "customer_messages ai_messages human_messages first_customer_message_at"
        " last_customer_message_at first_human_answer_at last_message_at last_author"
        " is_ai_involved",
        _TURNS: "customer_turns turns_answered_by_ai turns_answered_by_human turns_unanswered"
        " first_ai_answer_seconds",
        f"{_ESCALATED} {_WRITTEN}": "is_automation_pending is_automated",
        f"{_ESCALATED} {_WRITTEN} raw_conversations.lead_id": "repeat_contact_at",
    },
    "leads": {
        "raw_conversations.lead_id": "lead_id",
        "raw_conversations.lead_full_name": "full_name",
        "raw_conversations.lead_email": "email",
        "raw_conversations.lead_phone_number": "phone_number",
        "raw_conversations.lead_email_marketing_consent": "email_marketing_consent",
        "raw_conversations.show_payload": "first_name last_name shopify_customer_id"
        " additional_attributes",
        "raw_conversations.conversation_id": "conversations",
        "raw_conversations.created_at": "first_contact_at",
        "raw_conversations.last_message_at": "last_contact_at",
    },
    "escalation_metrics": {
        "raw_conversations.created_at": "conversations_started",
        f"{_ESCALATED} raw_messages.created_at": "conversations_active escalation_rate",
        _ESCALATED: "escalated_conversations escalations reescalations",
        _RESOLVED: "resolved resolution_rate resolution_seconds_mean resolution_seconds_p50"
        " resolution_seconds_p90 resolution_business_seconds_p50 resolution_business_seconds_p90",
        _ENDED: "still_open backlog_at_day_end backlog_age_seconds_p50 backlog_age_seconds_max",
        _RESPONSE: "unanswered one_touch first_response_seconds_p50 first_response_seconds_p90"
        " first_response_seconds_p95 first_response_business_seconds_p50"
        " first_response_business_seconds_p90 first_response_business_seconds_p95"
        " responses_under_1h responses_1h_to_4h responses_4h_to_8h responses_8h_to_24h"
        " responses_over_24h",
        f"{_RESPONSE} raw_messages.role": "next_response_seconds_p50 next_response_seconds_p90",
        f"{_RESPONSE} raw_conversations.missing_since": "answered_within_target_rate"
        " pending_within_target",
        f"{_RESPONSE} raw_conversations.missing_since raw_messages.role": "abandoned",
        _WRITTEN: "customer_messages ai_messages human_messages",
        f"{_ESCALATED} {_WRITTEN}": "containment_rate",
    },
    "activity_by_hour": {
        "raw_conversations.created_at": "conversations_started",
        _WRITTEN: "customer_messages ai_messages human_messages",
        f"{_WRITTEN} raw_messages.sender_id": "active_agents",
        _ESCALATED: "escalations",
        _RESOLVED: "resolved",
        _ENDED: "open_at_end",
    },
}


def column_lineage(
    table: str, *, key: Callable[[str], dg.AssetKey]
) -> dict[str, dg.TableColumnLineage]:
    """Metadata of a materialization: the columns of the raw tables behind each of its own.

    Args:
        key: gives the asset key of a table.
    """
    lineage: dict[str, list[dg.TableColumnDep]] = {}
    for sources, columns in COLUMNS[table].items():
        pairs = [source.split(".") for source in sources.split()]
        deps = [dg.TableColumnDep(asset_key=key(raw), column_name=name) for raw, name in pairs]
        lineage |= dict.fromkeys(columns.split(), deps)
    return {"dagster/column_lineage": dg.TableColumnLineage(lineage)}
