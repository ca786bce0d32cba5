"""Mails into a Maildir; test_contract.py has what all transports do."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from syftnotify.transports.maildir.sending import MaildirTransport
from tests.integration.transports.rigs import HELLO


def test_maildir_that_several_transports_create_at_once_gets_every_mail(tmp_path: Path) -> None:
    """The page mails links to sign in beside the worker."""
    for attempt in range(20):
        start = threading.Barrier(4)

        def send(path: Path, start: threading.Barrier) -> str:
            transport = MaildirTransport(path, clock=time.time)
            start.wait()
            return str(transport.send(HELLO).provider_id)

        with ThreadPoolExecutor(4) as pool:
            path = tmp_path / f"mail-{attempt}"
            sent = list(pool.map(send, [path] * 4, [start] * 4))

        assert {file.name for file in (path / "new").iterdir()} == set(sent)
        assert len(set(sent)) == 4
