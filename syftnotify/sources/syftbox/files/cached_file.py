"""Files that are parsed again only when they have changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from syftnotify.sources.syftbox.files.safe_read import UnreadableError, read_beneath
from syftnotify.sources.syftbox.files.signatures import MISSING, Signature, is_racy, signature

_Content = TypeVar("_Content")


@dataclass(slots=True)
class CachedFile(Generic[_Content]):
    """One file and its parsed content."""

    path: Path
    parse: Callable[[bytes], _Content]  # raises UnreadableError
    cap: int  # bytes
    is_in_tree: bool = False  # in the tree a link is not followed
    content: _Content | None = None
    problem: str = ""  # why there is a file but no content
    _signature: Signature | None = None

    def read(self, now: float) -> _Content | None:
        """The content at `now` (seconds since 1970); None if the file is missing.

        A file that cannot be parsed keeps its previous content: clients write in place, so it may be incomplete.
        """
        path = str(self.path) if self.is_in_tree else os.path.realpath(self.path)
        found = signature(path)
        if found == MISSING:
            self.content, self._signature, self.problem = None, None, ""
        elif found != self._signature:
            try:
                self.content = self._load(path)
            except FileNotFoundError:  # removed since
                pass
            except UnreadableError as error:
                self.problem = "" if self.content is not None else f"{self.path} cannot be used: {error}"
            else:
                self.problem = ""
                self._signature = None if is_racy(found, now) else found
        return self.content

    def _load(self, path: str) -> _Content:
        folder, name = os.path.split(path)
        content, size = read_beneath(folder, (name,), cap=self.cap)
        if size > self.cap:
            raise UnreadableError("too large")
        return self.parse(content)
