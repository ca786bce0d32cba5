"""Parameter lists of which only representative values run in `make test`, and all in `make check`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest


def thorough_except(quick: Iterable[str], params: Iterable[Any] | Mapping[str, Any]) -> list[Any]:
    """Mark as thorough each of `params` whose id is not in `quick`; the keys of a mapping are the ids.

    Raises:
        ValueError: `quick` has an id that no parameter has.
    """
    wanted = set(quick)
    named = (
        [pytest.param(value, id=key) for key, value in params.items()] if isinstance(params, Mapping) else list(params)
    )
    if unknown := wanted - {each.id for each in named}:
        raise ValueError(f"no parameter has the id {', '.join(sorted(unknown))}")
    return [
        each if each.id in wanted else pytest.param(*each.values, id=each.id, marks=[*each.marks, pytest.mark.thorough])
        for each in named
    ]
