"""The OpenAPI description: complete, and true for generated requests of each role."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syftnotify.web.access import RateLimits
from tests.support import Box
from tests.trees import TREES, Disk
from tests.web import Served, serve

pytestmark = pytest.mark.check_only


CONFIGURATION = Path(__file__).parents[2] / "data" / "schemathesis.toml"
EXAMPLES = 8  # of each operation and phase
STREAM = "/v1/notifications/stream"
UNLIMITED = 10**9


@pytest.fixture
def filled(box: Box) -> Iterator[Served]:
    """A server with jobs and notifications, without limits of requests."""
    tree = TREES["D"](Disk(box.root, box.clock.time))
    with serve(box, limits=RateLimits(requests=UNLIMITED, failures=UNLIMITED)) as found:
        box.scan()
        tree.submit()
        box.scan()
        found.store(60)
        yield found


@pytest.mark.thorough
@pytest.mark.parametrize("role", ["anonymous", "viewer", "operator", "service"])
def test_generated_requests_are_answered_as_described(filled: Served, role: str) -> None:
    """All checks of schemathesis: statuses, bodies, headers, authentication, refusal of what does not fit."""
    sign_in = [] if role == "anonymous" else ["--header", f"Authorization: Bearer {filled.token(role)}"]
    # A stream has no end; tests/integration/web/test_stream.py is about it.
    left_out = ["--exclude-path", STREAM] if role in {"viewer", "operator"} else []
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"]
    command += [f"{filled.server.url}/openapi.json", "--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "1"]
    done = subprocess.run(
        [*command, *sign_in, *left_out], capture_output=True, text=True, check=False, cwd=filled.box.folder
    )

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_every_operation_has_an_answer_description_and_problems(filled: Served) -> None:
    """Also 400 for requests that are malformed; and examples wherever there is a body."""
    description = filled.client().get("/openapi.json").json()
    operations: list[dict[str, Any]] = [each for path in description["paths"].values() for each in path.values()]

    assert description["openapi"].startswith("3.1.")
    for operation in operations:
        assert operation["summary"]
        assert operation["description"], operation["summary"]
        assert "400" in operation["responses"], operation["summary"]
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"]
    objects = description["components"]["schemas"]
    lacking = [
        (name, key)
        for name, found in objects.items()
        for key, each in found.get("properties", {}).items()
        if not {"examples", "default", "const", "$ref"} & set(re.findall(r"[$\w]+", str(each)))
    ]
    assert lacking == []


def test_description_needs_no_token(filled: Served) -> None:
    assert filled.client().get("/openapi.json").status_code == 200
