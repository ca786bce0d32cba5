"""`GmailSender`: sends single mails at once, for Python callers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import jinja2

from syftnotify.core.errors import DeliveryError
from syftnotify.core.identifiers import is_address
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Message
from syftnotify.core.retry import OUTCOME_LABELS
from syftnotify.core.text import escape
from syftnotify.delivery.direct import send_now
from syftnotify.rendering.email import inline_css
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.transports.gmail.sending import GmailApi

if TYPE_CHECKING:
    from google.oauth2.credentials import Credentials

log = logging.getLogger(__name__)


class GmailSender:
    """Sends mails from the signed-in Gmail account.

    All methods return whether the mail was sent. Failures are logged and never raised.

    Args:
        credentials: the credentials that `GmailAuth` returned.
        use_html: send HTML with a plain-text fallback; otherwise plain text only.
        api_endpoint: another URL of the Gmail API, such as a local emulator.
    """

    def __init__(self, credentials: Credentials, use_html: bool = True, *, api_endpoint: str | None = None) -> None:
        self._api = GmailApi(_CallerCredentials(credentials), api_endpoint=api_endpoint)
        self._use_html = use_html
        self._renderer = TemplateRenderer()

    def notify_new_job(
        self,
        do_email: str,
        job_name: str,
        submitter: str,
        timestamp: datetime | None = None,
        job_url: str | None = None,
    ) -> bool:
        """Notify the data owner of a job that waits for review."""
        context = {"job_name": job_name, "submitter": submitter, "timestamp": timestamp, "job_url": job_url}
        return self._notify(
            do_email,
            'New job request "{job_name}" from {submitter}',
            "new_job",
            context,
            EventKind.JOB_SUBMITTED,
            Audience.OWNER,
        )

    def notify_job_approved(self, ds_email: str, job_name: str, job_url: str | None = None) -> bool:
        """Notify the scientist that a job was approved."""
        context = {"job_name": job_name, "job_url": job_url}
        return self._notify(
            ds_email, 'Your job "{job_name}" was approved', "job_approved", context, EventKind.JOB_APPROVED
        )

    def notify_job_executed(
        self, ds_email: str, job_name: str, duration: int | None = None, results_url: str | None = None
    ) -> bool:
        """Notify the scientist that a job is done; `duration` is in seconds."""
        context = {"job_name": job_name, "duration": duration, "results_url": results_url}
        return self._notify(ds_email, 'Your job "{job_name}" is done', "job_executed", context, EventKind.JOB_COMPLETED)

    def notify_new_peer_request_to_do(self, do_email: str, ds_email: str, peer_url: str | None = None) -> bool:
        """Notify the data owner of a peer request."""
        context = {"do_email": do_email, "ds_email": ds_email, "peer_url": peer_url}
        return self._notify(
            do_email,
            "New peer request from {ds_email}",
            "new_peer_request",
            context,
            EventKind.PEER_REQUESTED,
            Audience.OWNER,
        )

    def notify_peer_request_sent(self, ds_email: str, do_email: str) -> bool:
        """Notify the scientist that a peer request was sent."""
        context = {"do_email": do_email, "ds_email": ds_email}
        return self._notify(
            ds_email, "Your peer request to {do_email} was sent", "peer_request_sent", context, EventKind.PEER_REQUESTED
        )

    def notify_peer_request_granted(self, ds_email: str, do_email: str) -> bool:
        """Notify the scientist that a peer request was accepted."""
        context = {"do_email": do_email, "ds_email": ds_email}
        return self._notify(
            ds_email, "{do_email} accepted your peer request", "peer_granted", context, EventKind.PEER_GRANTED
        )

    def send_email(self, to_email: str, subject: str, body_text: str, body_html: str | None = None) -> bool:
        """Send a mail with any content; `body_text` is the fallback of `body_html`."""
        return self._send(to_email, subject, body_text, body_html, (("X-SyftNotify-Audience", "recipient"),))

    def _notify(
        self,
        to_email: str,
        subject: str,
        template: str,
        context: Mapping[str, Any],
        kind: EventKind,
        audience: Audience = Audience.SUBMITTER,
    ) -> bool:
        escaped = {
            key: escape(value, quoted=key == "job_name") if isinstance(value, str) else value
            for key, value in context.items()
        }
        try:
            do_email = {"do_email": to_email} if audience is Audience.OWNER else {}
            variables = {**do_email, "audience": audience.value, "recipient": to_email, "kind": kind.value, **escaped}
            text = self._renderer.render(f"emails/{template}.txt", variables)
            html = inline_css(self._renderer.render(f"emails/{template}.html", variables)) if self._use_html else None
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            log.error(
                "notification FAILED_DELIVERY: to %s: cannot render template %s: %s",
                escape(str(to_email)),
                template,
                error,
            )
            return False
        headers = (("X-SyftNotify-Event", kind.value), ("X-SyftNotify-Audience", audience.value))
        return self._send(to_email, subject.format(**escaped), text, html, headers)

    def _send(
        self, to_email: str, subject: str, text: str, html: str | None, headers: tuple[tuple[str, str], ...]
    ) -> bool:
        if not isinstance(to_email, str) or not is_address(to_email):
            log.error("notification FAILED_DELIVERY: %s is not a mail address", escape(str(to_email)))
            return False
        if not all(isinstance(part, str) for part in (subject, text, html or "")):
            log.error("notification FAILED_DELIVERY: to %s: subject and body must be text", to_email)
            return False
        message = Message("", to_email, subject, text, (html or "") if self._use_html else "", headers=headers)
        try:
            send_now(self._api, message)
        except DeliveryError as error:
            log.error("notification %s: to %s: %s", OUTCOME_LABELS[error.failure], to_email, error)
            return False
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            log.error("notification FAILED_DELIVERY: to %s: invalid content: %s", to_email, escape(str(error)))
            return False
        log.info("notification SENT: to %s", to_email)
        return True


class _CallerCredentials:
    """Credentials that belong to the caller: refreshed when needed, not saved."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    def refresh(self, *, rejected: str = "") -> None:
        from syftnotify.transports.gmail.token_file import refresh_credentials

        refresh_credentials(self.credentials, rejected=rejected)
