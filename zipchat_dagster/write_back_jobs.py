"""The jobs that write to Zipchat. `write_back.py` has the rules.

Each ends by reading and storing the conversation, so the tables show the result at once. These jobs
are never repeated automatically: neither their op nor their run is retried.
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
    """The conversation, and whether to write."""

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
    """The conversation."""

    @property
    def orders(self) -> Orders:
        return Orders(self.conversation_id, hand_back=True)


class TakeOverConfig(ConversationConfig):
    """The conversation, and who takes it over."""

    assignee_id: int = Field(
        description="The user who takes it over: users.user_id. They must be assignable."
    )

    @property
    def orders(self) -> Orders:
        return Orders(self.conversation_id, take_over_by=self.assignee_id)


class ReplyConfig(ConversationConfig):
    """The conversation, the sender and the text."""

    sender_id: int = Field(
        description="The user who sends it: users.user_id. They must be assignable."
    )
    message: str = Field(
        description="The text for the customer. Dagster keeps it in the run's config."
    )
    send_again: bool = Field(
        default=False,
        description=(
            "Send the message even if a run in the last day sent the same text to this"
            " conversation, or may have. Look at the conversation in Zipchat first."
        ),
    )


class SendReplyConfig(ReplyConfig):
    """The same, and whether to take the conversation over."""

    take_over: bool = Field(
        default=False,
        description=(
            "Take the conversation over for the sender first. Otherwise, a person must already have"
            " it."
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
    """The conversation, the sender and the text."""

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
    """Check, write and store. Any failure ends the run with one description and no retry."""
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
    """Carry out the steps in turn and add to `done`. Returns the failure that stopped them."""
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
    " Dagster stores the text in the run's config and shows it to everyone who can see its UI. It"
    " is not in logs or metadata. Re-executing a failed run never resends a message that may have"
    " been sent. A new run refuses to send the same text to the conversation within a day, unless"
    " send_again is set."
)
# Name → config, description.
WRITE_BACK_JOBS: Final[dict[str, tuple[type[ConversationConfig], str]]] = {
    "take_over_job": (
        TakeOverConfig,
        "Takes a conversation over from the AI: sets manual mode and assigns it to a user.",
    ),
    "hand_back_job": (
        HandBackConfig,
        "Hands a conversation back to the AI and unassigns it.",
    ),
    "send_reply_job": (
        SendReplyConfig,
        "Sends a message to the customer of a conversation that a person has. With take_over, takes"
        f" it over first.{SENDING}",
    ),
    "take_over_reply_hand_back_job": (
        TakeOverReplyHandBackConfig,
        "Takes a conversation over, sends the customer a message, and hands it back to the AI."
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
    # Never retried. Not in a pool, because somebody is waiting for it.
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
            # Overrides the instance's run retries: a person has to look at a failed write.
            "dagster/max_retries": "0",
            "dagster/priority": URGENT,
            **(HOLDS_TEXT if issubclass(config_type, ReplyConfig) else {}),
        },
        description=f"{description} With dry_run, it checks everything and writes nothing.",
    )
