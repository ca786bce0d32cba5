"""The YAML reader where PyYAML has only its own parser."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support import TIMEOUT
from tests.yaml_reference import ODD_DETAILS


def test_parse_yaml_without_libyaml_keeps_the_rest_of_odd_files() -> None:
    """A1: a process in which PyYAML has only its own parser."""
    program = (
        "import json, sys; import yaml; del yaml.CSafeLoader\n"
        "from syftnotify.sources.syftbox.files.yaml_reader import parse_yaml\n"
        "print(json.dumps([parse_yaml(text.encode()) for text in json.load(sys.stdin)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([*ODD_DETAILS]),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )

    for found, (text, expected) in zip(json.loads(done.stdout), ODD_DETAILS.items(), strict=True):
        assert found == expected or (expected is None and "a" in found), text
