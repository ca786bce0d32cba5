"""What do we owe, since when, what became of it? The durable queue and history, in SQLite."""

from syftnotify.outbox.claims import Throttle
from syftnotify.outbox.queue import Counts, Due, Letter, Noticed, Outbox, SentMessage, Verdict

__all__ = ["Counts", "Due", "Letter", "Noticed", "Outbox", "SentMessage", "Throttle", "Verdict"]
