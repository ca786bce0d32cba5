"""Compares owed and received notifications: none lost, none unexpected, duplicates counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.chaos.material import Owed
from tests.chaos.sinks import Committed


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one campaign.

    `unexpected` was sent and not owed: to another recipient, again with another id, or in a digest. `duplicated` are
    the ids that were committed more than once; `uncounted` are those of them for which the program recorded fewer
    attempts of unknown outcome than there are additional copies.
    """

    owed: int
    delivered: int
    lost: tuple[Owed, ...] = ()
    unexpected: tuple[Owed, ...] = ()
    duplicated: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()
    unknown: int = 0
    problems: tuple[str, ...] = field(default=())  # other violations

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.unexpected or self.uncounted or self.problems)


def judge(
    owed: Iterable[Owed], arrived: Iterable[Committed], unknown: Mapping[str, int], problems: Iterable[str] = ()
) -> Verdict:
    """Compare; `unknown` is the number of recorded attempts of unknown outcome, by id."""
    arrived = list(arrived)
    copies = Counter(message.id for message in arrived)
    required = Counter(owed)
    delivered = Counter(each for message in set(arrived) for each in message.items)
    duplicated = sorted(identity for identity, count in copies.items() if count > 1)
    return Verdict(
        owed=required.total(),
        delivered=(required & delivered).total(),
        lost=tuple(sorted((required - delivered).elements())),
        unexpected=tuple(sorted((delivered - required).elements())),
        duplicated=tuple(duplicated),
        uncounted=tuple(identity for identity in duplicated if copies[identity] - 1 > unknown.get(identity, 0)),
        unknown=sum(unknown.values()),
        problems=tuple(problems),
    )
