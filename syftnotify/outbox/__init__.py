"""What do we owe, since when, what became of it? The durable queue and history, in SQLite."""

from syftnotify.outbox.queue import Counts, Due, Letter, Noticed, Outbox, Verdict

__all__ = ["Counts", "Due", "Letter", "Noticed", "Outbox", "Verdict"]
