"""Links in messages, made from the URL templates of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from syftnotify.core.alerts import Alert
from syftnotify.core.identifiers import url_id
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event


@dataclass(frozen=True, slots=True)
class Links:
    """URL templates for a job, its results and a peer, and the address of the page; empty where there is none.

    Placeholders: `{job}`, `{owner}`, `{submitter}`, `{peer}`, `{entity}`. Their values are percent-encoded.
    """

    job: str = ""
    results: str = ""
    peer: str = ""
    page: str = ""  # such as `https://notify.lab.example/ui`

    def of(self, event: Event) -> dict[str, str]:
        """The URLs for `event`: `job_url`, `results_url`, `peer_url`, `page_url`; empty where there is none.

        `page_url` is where the page has more about a problem or the state of the worker.
        """
        payload = event.payload
        submitter = _encoded(payload.get("submitter"), safe="@")
        values = {
            "job": _encoded(payload.get("name")),
            "owner": _encoded(payload.get("owner"), safe="@"),
            "submitter": submitter,
            "peer": submitter,
            "entity": _encoded(event.entity),
        }
        has_job = event.kind.is_about_job and bool(values["job"])
        job_url = self.job.format_map(values) if has_job else ""
        # Emitters are trusted and may link to their own pages; the SyftBox tree is not trusted.
        emitted_url = _web_url(payload.get("url")) if event.emitted else ""
        return {
            "job_url": job_url or emitted_url or self._job_page(event),
            "results_url": self.results.format_map(values) if has_job else "",
            "peer_url": self.peer.format_map(values) or (self.page and f"{self.page}/"),
            "page_url": self._page_about(event),
        }

    def _job_page(self, event: Event) -> str:
        return f"{self.page}/jobs/{url_id(event.entity)}" if self.page and event.kind.is_about_job else ""

    def _page_about(self, event: Event) -> str:
        if not self.page or event.kind not in {EventKind.SYSTEM_ALERT, EventKind.HEARTBEAT}:
            return ""
        return f"{self.page}/{'worklist' if event.payload.get('alert') == Alert.DEAD_LETTERS else 'status'}"


def _encoded(value: Any, *, safe: str = "") -> str:
    """`value` percent-encoded, without lone surrogates, which file names that are not UTF-8 contain."""
    return quote(str(value or ""), safe=safe, errors="replace")


def _web_url(value: Any) -> str:
    """`value` if it is an http or https URL without blanks and control characters; otherwise empty."""
    is_url = isinstance(value, str) and value.startswith(("https://", "http://")) and value.isprintable()
    return str(value) if is_url and " " not in value else ""
