"""The raw columns behind each derived column, for Dagster's column lineage."""

from __future__ import annotations

from typing import Final

import dagster as dg

_ESCALATED = "raw_conversations.last_escalated_at"
_RESOLVED = f"{_ESCALATED} raw_conversations.last_escalation_resolved_at"
_ENDED = f"{_RESOLVED} raw_conversations.missing_since"
_RESPONSE = f"{_RESOLVED} raw_messages.created_at raw_messages.manual_reply"
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


def column_lineage(table: str) -> dict[str, dg.TableColumnLineage]:
    """Metadata of a materialization: the columns of the raw tables behind each of its own."""
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [
                    dg.TableColumnDep(
                        asset_key=source.split(".")[0], column_name=source.split(".")[1]
                    )
                    for source in sources.split()
                ]
                for column, sources in SOURCES[table].items()
            }
        )
    }
