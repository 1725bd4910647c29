"""The assets: one file each; what they share is in `common.py`."""

import dagster as dg

from zipchat_dagster.assets.chats_report import chats_report
from zipchat_dagster.assets.escalation_metrics import escalation_metrics
from zipchat_dagster.assets.escalation_report import escalation_report
from zipchat_dagster.assets.facts import facts
from zipchat_dagster.assets.leads import leads
from zipchat_dagster.assets.raw_conversations import raw_conversations
from zipchat_dagster.assets.raw_messages import raw_messages
from zipchat_dagster.assets.users import users
from zipchat_dagster.lanes import Lane

__all__ = ["build_assets", "chats_report"]

_FACTORIES = (
    users,
    raw_conversations,
    raw_messages,
    facts,
    leads,
    escalation_metrics,
    escalation_report,
)


def build_assets(lane: Lane) -> list[dg.AssetsDefinition]:
    """All assets of one chat."""
    return [factory(lane) for factory in _FACTORIES]
