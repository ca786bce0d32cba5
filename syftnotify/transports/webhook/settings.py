"""Settings of a webhook transport."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field

from syftnotify.config.secrets import is_plain_text, is_secret_name
from syftnotify.config.transport import TIMEOUT_MEANING, RenderContext, TransportSettings
from syftnotify.config.urls import WebUrl, is_safe_url
from syftnotify.config.values import HeaderName, HeaderValue, Retries, Secret, Timeout
from syftnotify.core.identifiers import AddressType
from syftnotify.core.ports import Renderer, Transport
from syftnotify.core.text import escape

if TYPE_CHECKING:
    from syftnotify.rendering.links import Links
    from syftnotify.transports.webhook.renderer import WebhookRenderer

_TEMPLATE = "template"  # the format whose content is the setting `body`


class WebhookSettings(TransportSettings):
    """JSON objects to an HTTP endpoint, signed if there is a secret."""

    address_type: ClassVar[AddressType] = AddressType.ENDPOINT
    for_programs: ClassVar[bool] = True
    public_only: ClassVar[bool] = False  # see `http_client.request`
    secret_keys: ClassVar[tuple[str, ...]] = ("secret",)

    type: Literal["webhook"]
    url: WebUrl = Field(description="the URL; messages and logs show its host only")
    secret: Secret | None = Field(
        None,
        description="signs each request as defined by [Standard Webhooks](https://www.standardwebhooks.com); "
        "`whsec_...`, or any text",
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict,
        description="added to each request; not `Host`, `Content-Length`, `Transfer-Encoding`, which it sets itself",
    )
    format: Literal["native", "gflow", "nomaflow", "run_alert", "template"] = Field(
        "native", description="the shape of the JSON object ([webhooks](webhooks.md))"
    )
    body: str | None = Field(
        None, description="the text for `format: template`, in which Jinja and `${job_id}` are replaced"
    )
    timeout_secs: Timeout = Field(10, description=TIMEOUT_MEANING)
    max_retries: Retries | None = 3

    @classmethod
    def plain_secrets(cls, raw: Mapping[str, Any]) -> list[str]:
        headers = raw.get("headers")
        return [
            *super().plain_secrets(raw),
            *(
                f"headers.{name}"
                for name, value in (headers if isinstance(headers, dict) else {}).items()
                if is_plain_text(value) and is_secret_name(str(name))
            ),
        ]

    @classmethod
    def conflicts(cls, raw: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(raw)
        if (raw.get("format") == _TEMPLATE) != (raw.get("body") is not None):
            yield "`body` and `format: template` belong together"

    @classmethod
    def template_errors(cls, raw: Mapping[str, Any]) -> Iterator[str]:
        from syftnotify.rendering.links import Links
        from syftnotify.transports.webhook.renderer import WebhookRenderer

        body = raw.get("body")
        if raw.get("format") == _TEMPLATE and isinstance(body, str):
            try:
                WebhookRenderer(_TEMPLATE, links=Links(), template=body)
            except ValueError as error:
                yield f"body: {escape(str(error))}"

    def template_warning(self) -> tuple[str, str] | None:
        from syftnotify.rendering.links import Links

        warning = self._renderer(Links()).warning if self.format == _TEMPLATE else ""
        return ("body", warning) if warning else None

    @property
    def sends_json(self) -> bool:
        """Whether the content type of the requests is JSON; a header in the settings may change it."""
        headers = {name.lower(): value.get_secret_value() for name, value in self.headers.items()}
        content_type = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        return content_type.endswith(("/json", "+json"))

    @property
    def exposed(self) -> list[str]:
        url = self.url.get_secret_value()
        if is_safe_url(url):
            return []
        parts = urlsplit(url)
        return [
            *(["`secret`"] if self.secret is not None else []),
            *(f"the header {header}" for header in self.headers if is_secret_name(header)),
            *(["the sign-in in the address"] if parts.username is not None else []),
            *(
                f"the parameter {escape(name, limit=40)} of the address"
                for name, _ in parse_qsl(parts.query, keep_blank_values=True)
                if is_secret_name(name)
            ),
        ]

    def build_transport(self, *, clock: Callable[[], float]) -> Transport:
        from syftnotify.transports.webhook.sending import WebhookTransport

        return WebhookTransport(
            self.url.get_secret_value(),
            headers={name: value.get_secret_value() for name, value in self.headers.items()},
            secret=self.secret.get_secret_value() if self.secret is not None else None,
            timeout=self.timeout_secs,
            clock=clock,
            public_only=self.public_only,
        )

    def build_renderer(self, context: RenderContext) -> Renderer:
        from syftnotify.rendering.links import Links

        try:
            return self._renderer(Links(**context.links))
        except ValueError as error:
            raise ValueError(f"body: {error}") from None

    def _renderer(self, links: Links) -> WebhookRenderer:
        from syftnotify.transports.webhook.renderer import WebhookRenderer

        return WebhookRenderer(self.format, links=links, template=self.body or "", is_json=self.sends_json)
