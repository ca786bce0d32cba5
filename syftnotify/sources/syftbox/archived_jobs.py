"""The archived jobs of one directory. They are numerous, so they are stored in columns: 24 bytes and the name each."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable

# Number of full scans in which the secondary file of every archived job is checked once.
SECONDARY_CYCLE = 8
_MAX_SINGLE = 100  # jobs that are removed one by one; more are removed by building new columns


class ArchivedJobs:
    """Sorted names, and in the same order the fingerprints of the primary and the secondary file of each job."""

    def __init__(
        self, names: list[str] | None = None, primary: Iterable[int] = (), secondary: Iterable[int] = ()
    ) -> None:
        self.names = names or []
        self.primary = array("q", primary)
        self.secondary = array("q", secondary)

    def get(self, name: str) -> tuple[int, int] | None:
        """The fingerprints of a job; None if it is not archived."""
        position = bisect_left(self.names, name)
        if position == len(self.names) or self.names[position] != name:
            return None
        return self.primary[position], self.secondary[position]

    def set(self, name: str, fingerprints: tuple[int, int]) -> None:
        """Add the job, or replace its fingerprints."""
        position = bisect_left(self.names, name)
        if position < len(self.names) and self.names[position] == name:
            self.primary[position], self.secondary[position] = fingerprints
        else:
            self.names.insert(position, name)
            self.primary.insert(position, fingerprints[0])
            self.secondary.insert(position, fingerprints[1])

    def remove(self, names: Collection[str]) -> None:
        """Remove these jobs, all of which are archived."""
        if len(names) > _MAX_SINGLE:
            removed = set(names)
            kept = [position for position, name in enumerate(self.names) if name not in removed]
            self.names = [self.names[position] for position in kept]
            self.primary = array("q", (self.primary[position] for position in kept))
            self.secondary = array("q", (self.secondary[position] for position in kept))
            return
        for name in names:
            position = bisect_left(self.names, name)
            del self.names[position], self.primary[position], self.secondary[position]

    def in_slots(self, slots: Collection[int]) -> tuple[list[str], array[int]]:
        """The names and secondary fingerprints of the jobs in these slots: numbers below `SECONDARY_CYCLE`.

        The slot depends on the name: one by position would shift whenever other jobs come and go.
        """
        positions = [position for position, name in enumerate(self.names) if hash(name) % SECONDARY_CYCLE in slots]
        return [self.names[position] for position in positions], array(
            "q", (self.secondary[position] for position in positions)
        )
