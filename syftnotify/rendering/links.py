"""Links in messages, built from the address templates of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from syftnotify.core.models import Event


@dataclass(frozen=True, slots=True)
class Links:
    """Address templates; empty where the configuration sets none.

    Placeholders: `{job}`, `{owner}`, `{submitter}`, `{peer}`, `{entity}`.
    """

    job: str = ""
    results: str = ""
    peer: str = ""

    def of(self, event: Event) -> dict[str, str]:
        """The addresses for `event`: `job_url`, `results_url`, `peer_url`; empty where there is none."""
        payload = event.payload
        submitter = quote(str(payload.get("submitter") or ""), safe="@", errors="replace")
        values = {
            "job": quote(str(payload.get("name") or ""), safe="", errors="replace"),
            "owner": quote(str(payload.get("owner") or ""), safe="@"),
            "submitter": submitter,
            "peer": submitter,
            "entity": quote(event.entity, safe=""),
        }
        has_job = event.kind.is_about_job and bool(values["job"])
        job_url = self.job.format_map(values) if has_job else ""
        # Emitters are trusted to link to their own pages; the SyftBox tree is not.
        emitted_url = _web_address(payload.get("url")) if event.emitted else ""
        return {
            "job_url": job_url or emitted_url,
            "results_url": self.results.format_map(values) if has_job else "",
            "peer_url": self.peer.format_map(values),
        }


def _web_address(value: Any) -> str:
    """`value` if it is an http(s) URL on one line without blanks, otherwise empty."""
    is_url = isinstance(value, str) and value.startswith(("https://", "http://")) and value.isprintable()
    return str(value) if is_url and " " not in value else ""
