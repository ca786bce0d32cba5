"""Items and rendered bodies for the tests of the webhook renderer."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

import yaml

from syftnotify import __version__
from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item, Message
from syftnotify.rendering.links import Links
from syftnotify.transports.webhook.renderer import WebhookRenderer
from tests.support import ANA, OWNER, PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")


FORMATS = ["native", "gflow", "nomaflow", "run_alert"]


VARIABLES = ["job_id", "run_id", "state", "error", "started_at", "finished_at", "triggered_by", "url"]


ALL_VARIABLES = "{" + ", ".join(f'"{name}": "${{{name}}}"' for name in VARIABLES) + "}"


WHEN = "2026-01-15T15:30:00Z"


DETECTED = 1_768_500_000.0


DETECTED_AT = "2026-01-15T18:00:00Z"


ENTITY = f"job/D/{OWNER}/{ANA}/survey"


LINKS = Links(job="https://box.example/jobs/{job}")


PAYLOAD: dict[str, Any] = {
    "name": "survey",
    "submitter": ANA,
    "owner": OWNER,
    "return_code": 3,
    "stderr": "Traceback\nKeyError: 'age'\n",
    "tags": ["team-data", "nightly"],
}


SCHEDULER = {"host": socket.gethostname(), "version": __version__}


def item(
    kind: EventKind = EventKind.JOB_FAILED,
    *,
    at: str = WHEN,
    entity: str = ENTITY,
    is_emitted: bool = False,
    **payload: Any,
) -> Item:
    routing = {"tags": payload.pop("tags")} if "tags" in payload else {}
    event = Event(kind, entity, "T", at, payload, routing, emitted=is_emitted)
    return Item("n1", event, Audience.OWNER, Status.FAILED, DETECTED)


def message(*items: Item, shape: str = "native", template: str = "", digest: str = "") -> Message:
    return WebhookRenderer(shape, links=LINKS, template=template).message(items, "oncall", digest=digest)


def rendered(
    kind: EventKind = EventKind.JOB_FAILED, /, *, shape: str = "native", template: str = "", **more: Any
) -> Any:
    """The object that tells of one event."""
    return json.loads(message(item(kind, **more), shape=shape, template=template).body)


def rendered_template(template: str, kind: EventKind = EventKind.JOB_FAILED, /, **more: Any) -> Any:
    """What becomes of an operator's own text, read as JSON."""
    return rendered(kind, shape="template", template=template, **more)


def documented(shape: str) -> dict[str, Any]:
    """The keys of a shape as docs/webhooks.md has them."""
    found = re.search(rf"^\| `{shape}` \| `(.+)` \|$", PAGE, re.MULTILINE)
    assert found, shape
    quoted = re.sub(r"\w+", r'"\g<0>"', found.group(1)).replace(" {", ": {")
    return dict(yaml.safe_load("{" + quoted + "}"))
