"""Messaging: messages, the bounded queues they wait in, and what becomes of those that find no room.

It may import `resilience` and the words, and does not know who handles a message. Read `message` first, then
`mailbox`.
"""

__all__: list[str] = []
