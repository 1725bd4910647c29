"""The jobs that write to Zipchat. What they do and refuse is in `write_back.py`.

Each ends by reading the conversation and storing it, so the tables show at once what was done.
Nothing repeats these jobs automatically: neither their op nor their run is retried.
"""

import logging
from typing import Final

import dagster as dg
from pydantic import Field

from zipchat_dagster.assets.common import URGENT, cost
from zipchat_dagster.client import ZipchatError
from zipchat_dagster.jobs import op_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.warehouse.attempts import Attempts
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster.write_back import (
    Orders,
    Reply,
    Step,
    Writer,
    sentence,
    store_conversation,
)


class ConversationConfig(dg.Config):
    """Which conversation, and whether to write."""

    conversation_id: int = Field(description="The conversation: raw_conversations.conversation_id.")
    dry_run: bool = Field(
        default=False,
        description="Check everything and report what would be done. Nothing is written.",
    )

    @property
    def orders(self) -> Orders:
        """What to do."""
        raise NotImplementedError


class HandBackConfig(ConversationConfig):
    """Which conversation."""

    @property
    def orders(self) -> Orders:
        return Orders(self.conversation_id, hand_back=True)


class TakeOverConfig(ConversationConfig):
    """Who takes it over."""

    assignee_id: int = Field(
        description="The user who takes it over: users.user_id. They must be assignable."
    )

    @property
    def orders(self) -> Orders:
        return Orders(self.conversation_id, take_over_by=self.assignee_id)


class ReplyConfig(ConversationConfig):
    """Who writes what."""

    sender_id: int = Field(
        description="The user in whose name it is sent: users.user_id. They must be assignable."
    )
    message: str = Field(
        description="The text for the customer. Dagster keeps it in the run's config."
    )
    send_again: bool = Field(
        default=False,
        description=(
            "Send the message even if a run of the last day sent the same text to this"
            " conversation, or may have. Look at the conversation in Zipchat first."
        ),
    )


class SendReplyConfig(ReplyConfig):
    """Who writes what, and whether to take the conversation over."""

    take_over: bool = Field(
        default=False,
        description=(
            "Take the conversation over for the sender first. Otherwise, a person must have it"
            " already."
        ),
    )

    @property
    def orders(self) -> Orders:
        return Orders(
            self.conversation_id,
            take_over_by=self.sender_id if self.take_over else None,
            reply=Reply(self.sender_id, self.message),
            send_again=self.send_again,
        )


class TakeOverReplyHandBackConfig(ReplyConfig):
    """Who writes what."""

    @property
    def orders(self) -> Orders:
        return Orders(
            self.conversation_id,
            take_over_by=self.sender_id,
            reply=Reply(self.sender_id, self.message),
            hand_back=True,
            send_again=self.send_again,
        )


def _carry_out(context: dg.OpExecutionContext, config: ConversationConfig, lane: Lane) -> None:
    """Check, write and store. Any failure ends the run with one description, without a retry."""
    orders = config.orders
    zipchat, tables = lane.zipchat(context), lane.warehouse(context)
    with zipchat.client(context) as client:
        attempts = Attempts(
            tables,
            chat_id=client.chat_id,
            conversation_id=orders.conversation_id,
            run_id=context.run_id,
            root_run_id=context.run.root_run_id or context.run_id,
            key=zipchat.api_key,
        )
        writer = Writer(client, orders, attempts)
        try:
            done, steps = writer.plan()
        except (ZipchatError, WarehouseError) as error:
            raise _failure(f"{sentence(error)} Nothing was written.") from None
        if config.dry_run:
            done += [f"Would {step.what}." for step in steps]
        for line in done:
            context.log.info(line)
        if not config.dry_run:
            failure = _take(steps, done, context.log)
            unstored = store_conversation(client, tables, orders.conversation_id)
            if failure or unstored:
                raise _failure(_failure_text(failure, done, unstored))
        context.add_output_metadata(
            {
                "conversation_id": orders.conversation_id,
                "done": dg.MetadataValue.json(done),
                "is_dry_run": config.dry_run,
                **({"message_length": len(orders.reply.text)} if orders.reply else {}),
                **({"message_id": writer.message_id} if writer.message_id else {}),
                **cost(client),
            }
        )


def _take(steps: list[Step], done: list[str], log: logging.Logger) -> ZipchatError | None:
    """Take the steps in turn, adding to `done`. Returns the failure that stopped them, if any."""
    for step in steps:
        try:
            done.append(step.carry_out())
        except ZipchatError as error:
            return error
        log.info(done[-1])
    return None


def _failure(description: str) -> dg.Failure:
    return dg.Failure(description=description, allow_retries=False)


def _failure_text(failure: ZipchatError | None, done: list[str], unstored: str) -> str:
    parts = [sentence(failure)] if failure else []
    if done:
        parts.append(f"{'Before that: ' if failure else ''}{' '.join(done)}")
    if unstored:
        parts.append(f"The tables will show this after the next sync. {unstored}")
    return " ".join(parts)


SENDING: Final = (
    " The text of the message is in the run's config, which Dagster stores and shows to everybody"
    " who can see its UI. It is in no log and no metadata. Re-executing a failed run never sends a"
    " message again that may have been sent. A new run refuses to send the same text to the"
    " conversation within a day, unless send_again is set."
)
# The config and the description of each.
WRITE_BACK_JOBS: Final[dict[str, tuple[type[ConversationConfig], str]]] = {
    "take_over_job": (
        TakeOverConfig,
        "Take a conversation over from the AI: manual mode, assigned to a user.",
    ),
    "hand_back_job": (
        HandBackConfig,
        "Hand a conversation back to the AI, and unassign it.",
    ),
    "send_reply_job": (
        SendReplyConfig,
        "Send a message to the customer of a conversation that a person has. With take_over, take"
        f" it over first.{SENDING}",
    ),
    "take_over_reply_hand_back_job": (
        TakeOverReplyHandBackConfig,
        "Take a conversation over, send its customer a message, and hand it back to the AI."
        f"{SENDING}",
    ),
}
# The tag of runs with a text for a customer in their config, which `retention_job` deletes.
HOLDS_TEXT: Final = {"zipchat_dagster/holds_text": "true"}


def write_back_jobs(lane: Lane) -> list[dg.JobDefinition]:
    """All jobs that write to one chat."""
    return [
        _job(lane, name, config_type, description)
        for name, (config_type, description) in WRITE_BACK_JOBS.items()
    ]


def _job(
    lane: Lane, name: str, config_type: type[ConversationConfig], description: str
) -> dg.JobDefinition:
    # Never retried. In no pool, because somebody waits for it.
    @dg.op(
        name=lane.step(name.removesuffix("_job")),
        description=description,
        out=dg.Out(dg.Nothing),
        required_resource_keys={lane.zipchat_key, lane.warehouse_key},
        retry_policy=dg.RetryPolicy(max_retries=0),
    )
    def op(
        context: dg.OpExecutionContext,
        config: config_type,  # type: ignore[valid-type]  # Dagster reads the class at run time
    ) -> None:
        _carry_out(context, config, lane)

    return op_job(
        op,
        name=lane.named(name),
        tags={
            # Overrides the instance's run retries: a failed write is for people to look at.
            "dagster/max_retries": "0",
            "dagster/priority": URGENT,
            **(HOLDS_TEXT if issubclass(config_type, ReplyConfig) else {}),
        },
        description=f"{description} dry_run checks everything and writes nothing.",
    )
