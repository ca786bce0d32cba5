"""A command in a real terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from tests.support import PATIENCE, Box


class Terminal:
    """The command in a pseudo terminal, and a user who types."""

    def __init__(self, box: Box, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "syftnotify", *arguments],
            env={**box.environment(), "TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.output = ""
        self._read = 0

    def answer(self, question: str, text: str) -> None:
        """Wait for `question`, which must come after the last one, and type `text`."""
        self._wait_for(question)
        self._read = self.output.index(question, self._read) + len(question)
        os.write(self._master, text.encode() + b"\n")

    def interrupt(self, question: str) -> None:
        """Wait for `question`, and press Ctrl-C; again if it came just before the read and was lost."""
        self._wait_for(question)
        for _ in range(10):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                return

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        self._wait_for(None)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _wait_for(self, text: str | None) -> None:
        """Read until `text` comes, or the end of the output."""
        until = time.monotonic() + PATIENCE
        while text is None or text not in self.output[self._read :]:
            assert time.monotonic() < until, f"no {text!r} in:\n{self.output}"
            if not select.select([self._master], [], [], 0.2)[0]:
                continue
            try:
                chunk = os.read(self._master, 4096)
            except OSError:  # Linux reports the closed other side so
                chunk = b""
            if not chunk:
                assert text is None, f"no {text!r} in:\n{self.output}"
                return
            self.output += chunk.decode().replace("\r\n", "\n")


OpenTerminal = Callable[..., Terminal]  # takes a box and the arguments of the command
