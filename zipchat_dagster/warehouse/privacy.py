"""What the tables may hold of people: which fields are personal, and how their values are replaced.

`Transaction.privacy` is applied to every record before it is written, so nothing that the settings
exclude touches the disk.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Final, Literal

Mode = Literal["keep", "hash", "drop"]

VERSION: Final = "h1"


@dataclass(frozen=True)
class Privacy:
    """The settings of a database, the same for all its chats.

    Attributes:
        identity: for names, e-mail addresses, phone numbers, share links, avatars, shop ids.
        content: for the texts of messages.
        attributes: for what the shop attached to a lead.
        key: for the hashes. Needed if a mode is `hash`, and for erasing a lead.
    """

    identity: Mode = "keep"
    content: Mode = "keep"
    attributes: Mode = "keep"
    key: str = field(default="", repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """Four hexadecimal digits that differ between keys and do not reveal them."""
        return self._digest("fingerprint")[:4]

    def hashed(self, value: str) -> str:
        """`h1:<fingerprint of the key>:<HMAC-SHA-256 in hexadecimal digits>` of a value that was
        normalised before. The same value has the same hash in every column."""
        return f"{VERSION}:{self.fingerprint}:{self._digest(value)}"

    def _digest(self, value: str) -> str:
        # Not every string is valid Unicode: JSON can hold half of a surrogate pair.
        return hmac.new(
            self.key.encode(), value.encode("utf-8", "surrogatepass"), sha256
        ).hexdigest()


KEEP: Final = Privacy()
