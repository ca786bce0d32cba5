"""The commands and examples of the README, run as a newcomer does; `tests/e2e/test_demo.py` compares the demo."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.fakes.mailserver import serve_mail
from tests.support import ANA, PROJECT_ROOT, TIMEOUT, Box, wait_until
from tests.workers import demo_tree

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[list[str]]:
    """The arguments of each `notify` command in the code below a heading."""
    section = README.partition(f"\n{heading}\n")[2]
    code = re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0]
    return [shlex.split(line, comments=True)[1:] for line in re.findall(r"^ {4}(notify.*)$", code, re.MULTILINE)]


def test_readme_commands_work_in_their_order(new_user: Box, user_home: Path) -> None:
    """With a mail server of this machine in place of Gmail's; test_google_sign_in.py has Gmail's API."""
    new_user.folder.joinpath("SyftBox_you@gmail.example").mkdir()
    init, start = commands("### With a mail server: one minute")
    with serve_mail(users={"you@gmail.example": "an app password"}) as server:
        init[-1] = init[-1].replace("smtp.gmail.com:587", f"127.0.0.1:{server.port}")
        new_user.notify(*init, check=0, stdin="an app password\n")
        new_user.notify(*start, check=0)
        try:
            assert [mail.event for mail in server.committed] == ["test"]
            new_user.run_process("emit", "job_failed", "--entity", "my job", "--user", ANA, check=0)
            wait_until(lambda: len(server.committed) == 3, what="two mails")
            then = commands("### Then")
            assert len(then) == 6
            for arguments in then:
                # `-f` follows until Ctrl-C, which test_logs_follow.py presses.
                new_user.notify(*[each for each in arguments if each != "-f"], check=0)
        finally:
            new_user.notify("stop")
    new_user.notify("status", check=3)


def test_readme_python_example_runs(box: Box) -> None:
    """Without a network its call returns False, so nothing is recorded as notified."""
    demo_tree(box)
    home = box.folder / ".syft-creds"
    home.mkdir(mode=0o700)
    (home / "gmail_token.json").write_text(
        '{"token": "x", "refresh_token": "y", "client_id": "z", "client_secret": "s", "expiry": "2099-01-01T00:00:00Z"}'
    )
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    closed = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code + "print(state.was_notified('job_123', 'new'))"],
        env={**box.environment(), "HTTPS_PROXY": closed, "https_proxy": closed, "NO_PROXY": "", "no_proxy": ""},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )

    assert done.stdout == "False\n"
