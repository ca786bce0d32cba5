"""Links in messages, made from the URL templates of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from syftnotify.core.identifiers import url_id
from syftnotify.core.models import Event


@dataclass(frozen=True, slots=True)
class Links:
    """URL templates for a job, its results and a peer; empty where the configuration has none.

    Placeholders: `{job}`, `{owner}`, `{submitter}`, `{peer}`, `{entity}`, `{job_id}`. Their values are percent-encoded.
    """

    job: str = ""
    results: str = ""
    peer: str = ""

    def of(self, event: Event) -> dict[str, str]:
        """The URLs for `event`: `job_url`, `results_url`, `peer_url`; empty where there is none."""
        payload = event.payload
        submitter = _encoded(payload.get("submitter"), safe="@")
        values = {
            "job": _encoded(payload.get("name")),
            "owner": _encoded(payload.get("owner"), safe="@"),
            "submitter": submitter,
            "peer": submitter,
            "entity": _encoded(event.entity),
            "job_id": url_id(event.entity),
        }
        has_job = event.kind.is_about_job and bool(values["job"])
        job_url = self.job.format_map(values) if has_job else ""
        # Emitters are trusted and may link to their own pages; the SyftBox tree is not trusted.
        emitted_url = _web_url(payload.get("url")) if event.emitted else ""
        return {
            "job_url": job_url or emitted_url,
            "results_url": self.results.format_map(values) if has_job else "",
            "peer_url": self.peer.format_map(values),
        }


def _encoded(value: Any, *, safe: str = "") -> str:
    """`value` percent-encoded, without lone surrogates, which file names that are not UTF-8 contain."""
    return quote(str(value or ""), safe=safe, errors="replace")


def _web_url(value: Any) -> str:
    """`value` if it is an http or https URL without blanks and control characters; otherwise empty."""
    is_url = isinstance(value, str) and value.startswith(("https://", "http://")) and value.isprintable()
    return str(value) if is_url and " " not in value else ""
