"""The first attempt of an alert by a real worker."""

from __future__ import annotations

import time

from tests.fakes.mailserver import never_respond
from tests.fakes.web import WebServer, serve_web
from tests.support import ANA, Box, wait_until
from tests.trees import Tree


def test_alert_is_posted_beside_a_target_that_hangs(box: Box, tree: Tree, hook: WebServer) -> None:
    """A06, A10: a target that never answers delays no other."""
    box.clock.now = time.time()
    with serve_web(never_respond) as silent:
        transports = {
            "silent": {"type": "webhook", "url": silent.url, "timeout_secs": 300, "events": ["*"]},
            "hook": {"type": "webhook", "url": hook.url, "events": ["job_failed"]},
        }
        box.configure({"transports": transports, "routes": []})
        tree.grant(ANA)
        box.notify("start", check=0)
        tree.submit("survey", ANA)
        tree.approve("survey", ANA)
        wait_until(lambda: silent.requests, what="the target that hangs")
        tree.run("survey", ANA, code=1)
        wait_until(lambda: hook.requests, what="the alert")
