"""Requests of other programs that create something, each of them once."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.outbox import OutboxStore

MAX_KEY = 255  # characters
_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY}}}")


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

        A request that is refused does not use up its key.

        Raises:
            ConfigError: the key has characters other than visible ones of ASCII, or more than `MAX_KEY`.
            KeyInUseError: a request with this key is in progress.
            KeyReusedError: the key was used for another request.
        """
        if not key:
            yield ""
            return
        if not _KEY.fullmatch(key):
            raise ConfigError(f"Idempotency-Key: expected at most {MAX_KEY} visible characters of ASCII")
        claim = token_id, key
        with self._lock:
            if claim in self._in_progress:
                raise KeyInUseError("a request with this Idempotency-Key is in progress", hint="repeat it later")
            self._in_progress.add(claim)
        try:
            request_hash = stable_hash(json.dumps(request, sort_keys=True))
            is_new = self._outbox.idempotency.claim(token_id, key, request_hash, time.time())
            if is_new is None:
                raise KeyReusedError("this Idempotency-Key was used for another request", hint="use a new one")
            try:
                yield stable_hash("idempotency", token_id, key)
            except NotifyError:
                if is_new:
                    self._outbox.idempotency.release(token_id, key)
                raise
        finally:
            with self._lock:
                self._in_progress.discard(claim)
