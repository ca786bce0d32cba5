"""Compares what was owed with what arrived: all of it, once or counted, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.chaos.material import Owed
from tests.chaos.sinks import Committed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one campaign.

    `foreign` was sent and not owed: to a stranger, or again under another id, or in a digest, which nothing here calls
    for. `doubled` are the ids that were committed more than once, `uncounted` those of them for which the program
    itself knows of fewer attempts of unknown outcome than there are copies too many.
    """

    owed: int
    delivered: int
    lost: tuple[Owed, ...] = ()
    foreign: tuple[Owed, ...] = ()
    doubled: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()
    unknown: int = 0
    troubles: tuple[str, ...] = field(default=())  # what else must not be

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.foreign or self.uncounted or self.troubles)


def judge(
    owed: Iterable[Owed], arrived: Iterable[Committed], unknown: Mapping[str, int], troubles: Iterable[str] = ()
) -> Verdict:
    """`unknown` is how many attempts of unknown outcome the program counted, by id."""
    arrived = list(arrived)
    copies = Counter(message.id for message in arrived)
    demanded = Counter(owed)
    delivered = Counter(each for message in set(arrived) for each in message.items)
    doubled = sorted(identity for identity, count in copies.items() if count > 1)
    return Verdict(
        owed=demanded.total(),
        delivered=(demanded & delivered).total(),
        lost=tuple(sorted((demanded - delivered).elements())),
        foreign=tuple(sorted((delivered - demanded).elements())),
        doubled=tuple(doubled),
        uncounted=tuple(identity for identity in doubled if copies[identity] - 1 > unknown.get(identity, 0)),
        unknown=sum(unknown.values()),
        troubles=tuple(troubles),
    )
