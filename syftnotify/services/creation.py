"""Requests of other programs that create something, each of them once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from syftnotify.core.errors import NotifyError
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.outbox import OutboxStore


class KeyReusedError(NotifyError):
    """The idempotency key was used for another request."""


class KeyInUseError(NotifyError):
    """A request with this idempotency key is in progress."""


class Idempotency:
    """The idempotency keys of one server."""

    def __init__(self, outbox: OutboxStore) -> None:
        self._outbox = outbox
        self._in_progress: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    @contextmanager
    def once(self, token_id: str, key: str, request: Mapping[str, Any]) -> Iterator[str]:
        """Yields the occurrence for what `request` creates: the same one for the same key, empty without a key.

        What is created must be identified by it. So a request that is repeated after a crash creates nothing twice.

        Raises:
            KeyInUseError: a request with this key is in progress.
            KeyReusedError: the key was used for another request.
        """
        if not key:
            yield ""
            return
        claim = token_id, key
        with self._lock:
            if claim in self._in_progress:
                raise KeyInUseError("a request with this Idempotency-Key is in progress", hint="repeat it later")
            self._in_progress.add(claim)
        try:
            request_hash = stable_hash(json.dumps(request, sort_keys=True))
            if self._outbox.idempotency.claim(token_id, key, request_hash, time.time()) != request_hash:
                raise KeyReusedError("this Idempotency-Key was used for another request", hint="use a new one")
            yield stable_hash("idempotency", token_id, key)
        finally:
            with self._lock:
                self._in_progress.discard(claim)
