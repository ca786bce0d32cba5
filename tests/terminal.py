"""Runs a command in a pseudo terminal."""

from __future__ import annotations

import codecs
import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable

from tests.support import TIMEOUT, Box


class Terminal:
    """A command in a pseudo terminal of 80 columns and 24 lines, with typed input."""

    def __init__(self, box: Box, *arguments: str, **variables: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        environment = {**box.environment(), "TERM": "dumb", **variables}
        del environment["COLUMNS"]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "syftnotify", *arguments],
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.output = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._read = 0

    def answer(self, prompt: str, text: str) -> None:
        """Wait for `prompt` in the output after the previous one, and type `text`."""
        self._wait_for(prompt)
        self._read = self.output.index(prompt, self._read) + len(prompt)
        os.write(self._master, text.encode() + b"\n")

    def interrupt(self, prompt: str) -> None:
        """Wait for `prompt`, and press Ctrl-C; repeated, because one that comes just before the read is lost."""
        self._wait_for(prompt)
        for _ in range(10):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                return

    def read_for(self, seconds: float) -> None:
        """Read what is printed within `seconds`."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self._read_chunk(left):
            pass

    def wait(self) -> int:
        """Read until the command ends; returns the exit code."""
        self._wait_for(None)
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _wait_for(self, text: str | None) -> None:
        """Read until `text` appears; None: until the end of the output."""
        deadline = time.monotonic() + TIMEOUT
        while text is None or text not in self.output[self._read :]:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            if self._read_chunk(0.2) is False:
                assert text is None, f"no {text!r} in:\n{self.output}"
                return

    def _read_chunk(self, seconds: float) -> bool | None:
        """Read what is there or comes within `seconds`; returns None if there was nothing, and False at the end."""
        if not select.select([self._master], [], [], seconds)[0]:
            return None
        try:
            chunk = os.read(self._master, 4096)
        except OSError:  # on Linux: the other side is closed
            chunk = b""
        self.output += self._decoder.decode(chunk).replace("\r\n", "\n")
        return bool(chunk)


OpenTerminal = Callable[..., Terminal]  # takes a box and the arguments of the command
