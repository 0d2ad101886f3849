"""Station policies: how the mail of a station is treated.

They are apart from the station because most stations are treated alike, and share them.
"""

from __future__ import annotations

from moot.messaging.overflow import Displace, displacement
from moot.policies import SEND_TIMEOUT, MailboxPolicy

__all__ = ["StationPolicies"]


class StationPolicies:
    """What holds for the mail of a station. Stations that are treated alike share one, so it never changes.

    A mailbox has ``capacity``. ``displace`` chooses the message that a full mailbox loses, if it is set to lose one.
    Output may wait ``patience`` seconds for room.
    """

    __slots__ = ("capacity", "displace", "fails_when_full", "patience")

    def __init__(self, mailbox: MailboxPolicy, patience: float = SEND_TIMEOUT) -> None:
        self.capacity = mailbox.capacity
        self.fails_when_full = mailbox.overflow == "fail"
        self.displace: Displace | None = displacement(mailbox)
        self.patience = patience
