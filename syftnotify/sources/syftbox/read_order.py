"""The order in which changed jobs are read: fair between submitters when there is no time for all."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from syftnotify.sources.syftbox.job_index import JobRef, entities


class ReadOrder:
    """Round robin over submitters. Of one submitter, the jobs that most scans in a row have skipped come first."""

    def __init__(self) -> None:
        self._skipped: dict[str, int] = {}  # entity -> number of scans in a row that had no time to read it

    def arrange(self, changed: Iterable[JobRef]) -> Iterator[list[JobRef]]:
        """The jobs by entity, in reading order. In layout A one entity may be in several stages."""
        by_submitter: dict[str, list[JobRef]] = defaultdict(list)
        for ref in changed:
            by_submitter[ref[1].entity_prefix].append(ref)
        queues = deque(map(self._of_submitter, by_submitter.values()))
        while queues:
            queue = queues.popleft()
            refs = next(queue, None)
            if refs:
                yield refs
                queues.append(queue)

    def _of_submitter(self, changed: list[JobRef]) -> Iterator[list[JobRef]]:
        changed.sort(key=itemgetter(0))
        if self._skipped:
            changed.sort(key=lambda ref: -self._skipped.get(ref[1].location(ref[0]).entity, 0))
        for _, refs in groupby(changed, itemgetter(0)):
            yield list(refs)

    def note_skipped(self, refs: Iterable[JobRef]) -> None:
        """Record which jobs the scan had no time to read; all others start again at zero."""
        self._skipped = {entity: self._skipped.get(entity, 0) + 1 for entity in entities(refs)}
