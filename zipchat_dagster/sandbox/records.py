"""A chat's records in the JSON form of the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from zipchat_dagster.sandbox.chat import Chat, Conversation, Lead, Message, User
from zipchat_dagster.sandbox.options import AnswerOptions
from zipchat_dagster.sandbox.routing import Json


class Records:
    """Shows records as the options say."""

    def __init__(self, chat: Chat, options: AnswerOptions) -> None:
        self._chat = chat
        self._options = options

    def conversation(self, conversation: Conversation, *, details: bool = False) -> Json:
        """Without messages. `details`: with the lead's fields that only the show endpoint has."""
        assignee = None
        if conversation.assignee_id is not None:
            user = self._chat.user(conversation.assignee_id)
            assignee = {"id": user.id, **self._name(user), "email": user.email}
        last = conversation.escalations[-1] if conversation.escalations else None
        resolved = last.resolved_at if last is not None else None
        if self._options.reescalation_resolved == "keep" and resolved is None:
            former = [e.resolved_at for e in conversation.escalations if e.resolved_at is not None]
            resolved = former[-1] if former else None
        return {
            "id": conversation.id,
            "chat_id": self._chat.chat_id,
            "created_at": _time(conversation.created_at),
            "last_message_at": _time(conversation.last_message_at),
            "channel": conversation.channel,
            "manual_reply_mode": conversation.manual_reply_mode,
            "last_escalated_at": None if last is None else _time(last.escalated_at),
            "last_escalation_resolved_at": None if resolved is None else _time(resolved),
            "share_url": conversation.share_url,
            "lead": None if conversation.lead is None else _lead(conversation.lead, details),
            "assignee": assignee,
        }

    def message(self, message: Message) -> Json:
        return {
            "id": message.id,
            "role": message.role,
            "message": message.message,
            "manual_reply": message.manual_reply,
            "status": message.status,
            "sender_id": message.sender_id,
            "created_at": _time(message.created_at),
        }

    def user(self, user: User) -> Json:
        return {
            "id": user.id,
            **self._name(user),
            "email": user.email,
            "avatar_url": user.avatar_url,
            "role": user.role,
        }

    def _name(self, user: User) -> Json:
        if self._options.user_name == "first_last":
            return {"first_name": user.first_name, "last_name": user.last_name}
        return {self._options.user_name: user.full_name}


def with_string_ids(value: Any) -> Any:
    """JSON with every id as a string of digits."""
    if isinstance(value, list):
        return [with_string_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: str(item)
        if (name == "id" or name.endswith("_id")) and type(item) is int
        else with_string_ids(item)
        for name, item in value.items()
    }


def _time(at: datetime) -> str:
    return f"{at.isoformat()[:19]}Z"  # strftime takes ten times as long


def _lead(lead: Lead, details: bool) -> Json:
    shown: Json = {
        "id": lead.id,
        "full_name": lead.full_name,
        "email": lead.email,
        "phone_number": lead.phone_number,
        "email_marketing_consent": lead.email_marketing_consent,
    }
    if details:
        shown |= {
            "first_name": lead.first_name,
            "last_name": lead.last_name,
            "shopify_customer_id": lead.shopify_customer_id,
            "additional_attributes": lead.additional_attributes,
        }
    return shown
