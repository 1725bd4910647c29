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

SOURCES: Final[dict[str, dict[str, str]]] = {
    "escalations": {
        "conversation_id": "raw_conversations.conversation_id",
        "escalated_at": _ESCALATED,
        "partition_date": _ESCALATED,
        "resolved_at": _RESOLVED,
        "channel": "raw_conversations.channel",
        "assignee_id": "raw_conversations.assignee_id",
        "first_response_at": _RESPONSE,
        "first_responder_id": f"{_RESPONSE} raw_messages.sender_id",
        "superseded_at": _RESOLVED,
        "ended_at": _ENDED,
        "is_open": _ENDED,
        "turns_before": f"{_ESCALATED} {_WRITTEN}",
        "seconds_to_escalation": f"{_ESCALATED} raw_conversations.created_at",
        "first_response_seconds": _RESPONSE,
        "first_response_business_seconds": _RESPONSE,
        "resolution_seconds": _RESOLVED,
        "resolution_business_seconds": _RESOLVED,
        "replies": _REPLIES,
        "agents": f"{_REPLIES} raw_messages.sender_id",
        "reassignments": f"{_RESOLVED} raw_conversations.assignee_id",
        "customer_wait_seconds": f"{_ENDED} {_WRITTEN}",
        "is_one_touch": _REPLIES,
        "is_abandoned": f"{_ENDED} {_WRITTEN}",
    },
    "customer_turns": {
        "turn": f"{_ENDED} {_WRITTEN}",
        "channel": "raw_conversations.channel",
        "asked_at": f"{_ENDED} {_WRITTEN}",
        "customer_messages": f"{_ENDED} {_WRITTEN}",
        "answered_at": f"{_ENDED} {_WRITTEN}",
        "answered_by": f"{_ENDED} {_WRITTEN}",
        "sender_id": f"{_ENDED} {_WRITTEN} raw_messages.sender_id",
        "answer_seconds": f"{_ENDED} {_WRITTEN}",
        "answer_business_seconds": f"{_ENDED} {_WRITTEN}",
        "escalated_at": f"{_ENDED} {_WRITTEN}",
    },
    "sla_events": {
        "escalated_at": _ESCALATED,
        "metric": _ESCALATED,
        "turn": _WRITTEN,
        "channel": "raw_conversations.channel",
        "agent_id": f"{_RESPONSE} raw_messages.sender_id raw_conversations.assignee_id",
        "target_seconds": _ESCALATED,
        **dict.fromkeys(
            (
                "starts_at",
                "ended_at",
                "is_kept",
                "breach_at",
                "elapsed_seconds",
                "is_active",
                "is_breached",
                "business_breach_at",
                "elapsed_business_seconds",
                "is_business_breached",
            ),
            f"{_ENDED} {_WRITTEN}",
        ),
    },
    "conversation_facts": {
        "created_at": "raw_conversations.created_at",
        "channel": "raw_conversations.channel",
        "lead_id": "raw_conversations.lead_id",
        "is_first_of_lead": "raw_conversations.lead_id raw_conversations.created_at",
        "is_complete": "raw_conversations.created_at raw_conversations.last_message_at",
        "agents": "raw_messages.manual_reply raw_messages.sender_id",
        "escalations": _ESCALATED,
        "first_escalated_at": _ESCALATED,
        "last_escalated_at": _ESCALATED,
        "last_resolved_at": _RESOLVED,
        "is_open": _ENDED,
        "reopened_at": _RESOLVED,
        "reopened_after_seconds": _RESOLVED,
        "repeat_contact_at": f"{_ESCALATED} {_WRITTEN} raw_conversations.lead_id",
        **dict.fromkeys(
            (
                "customer_messages",
                "ai_messages",
                "human_messages",
                "first_customer_message_at",
                "last_customer_message_at",
                "first_human_answer_at",
                "last_message_at",
                "last_author",
                "is_ai_involved",
            ),
            _WRITTEN,
        ),
        **dict.fromkeys(
            (
                "customer_turns",
                "turns_answered_by_ai",
                "turns_answered_by_human",
                "turns_unanswered",
                "first_ai_answer_seconds",
            ),
            f"{_ENDED} {_WRITTEN}",
        ),
        **dict.fromkeys(("is_automation_pending", "is_automated"), f"{_ESCALATED} {_WRITTEN}"),
    },
    "leads": {
        "lead_id": "raw_conversations.lead_id",
        "full_name": "raw_conversations.lead_full_name",
        "first_name": "raw_conversations.show_payload",
        "last_name": "raw_conversations.show_payload",
        "email": "raw_conversations.lead_email",
        "phone_number": "raw_conversations.lead_phone_number",
        "email_marketing_consent": "raw_conversations.lead_email_marketing_consent",
        "shopify_customer_id": "raw_conversations.show_payload",
        "additional_attributes": "raw_conversations.show_payload",
        "conversations": "raw_conversations.conversation_id",
        "first_contact_at": "raw_conversations.created_at",
        "last_contact_at": "raw_conversations.last_message_at",
    },
    "escalation_metrics": {
        "conversations_started": "raw_conversations.created_at",
        "conversations_active": f"{_ESCALATED} raw_messages.created_at",
        "escalated_conversations": _ESCALATED,
        "escalations": _ESCALATED,
        "reescalations": _ESCALATED,
        "resolved": _RESOLVED,
        "still_open": _ENDED,
        "unanswered": _RESPONSE,
        "escalation_rate": f"{_ESCALATED} raw_messages.created_at",
        "containment_rate": f"{_ESCALATED} {_WRITTEN}",
        "resolution_rate": _RESOLVED,
        "answered_within_target_rate": f"{_RESPONSE} raw_conversations.missing_since",
        "pending_within_target": f"{_RESPONSE} raw_conversations.missing_since",
        "resolution_seconds_mean": _RESOLVED,
        "backlog_at_day_end": _ENDED,
        "customer_messages": _WRITTEN,
        "ai_messages": _WRITTEN,
        "human_messages": _WRITTEN,
        **{
            f"first_response_{kind}seconds_p{n}": _RESPONSE
            for kind in ("", "business_")
            for n in (50, 90, 95)
        },
        **{f"resolution_seconds_p{n}": _RESOLVED for n in (50, 90)},
        **{f"backlog_age_seconds_{what}": _ENDED for what in ("p50", "max")},
        **{f"resolution_business_seconds_p{n}": _RESOLVED for n in (50, 90)},
        **{f"next_response_seconds_p{n}": f"{_RESPONSE} raw_messages.role" for n in (50, 90)},
        **{
            f"responses_{span}": _RESPONSE
            for span in ("under_1h", "1h_to_4h", "4h_to_8h", "8h_to_24h", "over_24h")
        },
        "one_touch": _RESPONSE,
        "abandoned": f"{_RESPONSE} raw_conversations.missing_since raw_messages.role",
    },
    "activity_by_hour": {
        "conversations_started": "raw_conversations.created_at",
        "customer_messages": _WRITTEN,
        "ai_messages": _WRITTEN,
        "human_messages": _WRITTEN,
        "active_agents": f"{_WRITTEN} raw_messages.sender_id",
        "escalations": _ESCALATED,
        "resolved": _RESOLVED,
        "open_at_end": _ENDED,
    },
}


def column_lineage(
    table: str, *, key: Callable[[str], dg.AssetKey]
) -> dict[str, dg.TableColumnLineage]:
    """Metadata of a materialization: the columns of the raw tables behind each of its own.

    Args:
        key: gives the asset key of a table.
    """
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [
                    dg.TableColumnDep(
                        asset_key=key(source.split(".")[0]), column_name=source.split(".")[1]
                    )
                    for source in sources.split()
                ]
                for column, sources in SOURCES[table].items()
            }
        )
    }
