"""Attempts to send a message, remembered so that no later run sends it again by mistake.

They are in the warehouse, in `write_back_attempts`, because that is what runs share across
processes and Dagster instances. The text itself is not stored. Its hash is keyed with the API key,
so that nobody who has only the file can find a short text by trying. After a change of the key,
earlier attempts are not recognized. The sender is not part of the hash: the same text from a
colleague would reach the customer twice, too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster.warehouse.warehouse import Transaction, Warehouse

BLOCKING: Final = timedelta(days=1)  # how long an attempt keeps other runs from sending its text


@dataclass(frozen=True)
class Attempt:
    """An attempt that reached the customer, or may have.

    Attributes:
        run_id: the Dagster run that made it.
        is_own: whether that is this run, or another execution of it.
        newest_message_id: the newest message of the conversation before it.
        at: when, by the server's clock (UTC).
        outcome: "sent", or "unknown".
        message_id: the message's id, once it is known.
    """

    run_id: str
    is_own: bool
    newest_message_id: int
    at: datetime
    outcome: str
    message_id: int | None


@dataclass(frozen=True)
class Attempts:
    """A run's view of the attempts for one conversation.

    Texts are compared as they are given: the caller removes what does not matter.

    Attributes:
        key: the API key, which keys the hash.
        root_run_id: the run that this one re-executes, possibly through others; else its own id.
    """

    warehouse: Warehouse
    chat_id: int
    conversation_id: int
    run_id: str
    root_run_id: str
    key: str = field(repr=False)

    def earlier(self, text: str, now: datetime) -> list[Attempt]:
        """Attempts with this text that were not refused, newest first: this run's own, and those
        that other runs made within the last day."""
        with self.warehouse.transaction() as transaction:
            return self._earlier(transaction, text, now)

    def begin(
        self,
        text: str,
        now: datetime,
        *,
        newest_message_id: int,
        check: Callable[[Sequence[Attempt]], None],
    ) -> None:
        """Record that the text is about to be sent, with an unknown outcome.

        `check` gets the earlier attempts and may raise. Nothing is recorded then, and no other
        process can record an attempt in between.
        """
        with self.warehouse.transaction() as transaction:
            check(self._earlier(transaction, text, now))
            transaction.execute(
                "add_write_back_attempt",
                **self._same_text(text),
                run_id=self.run_id,
                newest_message_id=newest_message_id,
                attempted_at=now,
            )

    def settle(self, outcome: Literal["sent", "refused"], *, message_id: int | None = None) -> None:
        """Record the outcome of this run's attempt.

        If the file cannot be written now, it stays unknown, which keeps other runs from sending,
        too.
        """
        with suppress(WarehouseError), self.warehouse.transaction() as transaction:
            transaction.execute(
                "settle_write_back_attempt",
                run_id=self.run_id,
                outcome=outcome,
                message_id=message_id,
            )

    def _earlier(self, transaction: Transaction, text: str, now: datetime) -> list[Attempt]:
        rows = transaction.execute(
            "write_back_attempts", **self._same_text(text), since=now - BLOCKING
        )
        return [
            Attempt(run_id, is_own, newest, datetime.fromtimestamp(at, UTC), outcome, message_id)
            for run_id, is_own, newest, at, outcome, message_id in rows
        ]

    def _same_text(self, text: str) -> dict[str, Any]:
        hashed = f"{self.chat_id} {self.conversation_id} {text}".encode("utf-8", "replace")
        return {
            "chat_id": self.chat_id,
            "conversation_id": self.conversation_id,
            "text_hash": hmac.new(self.key.strip().encode(), hashed, hashlib.sha256).hexdigest(),
            "root_run_id": self.root_run_id,
        }
