"""URLs in `config.yaml`, to which requests are sent. Often they contain secrets, so errors do not show them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr

from syftnotify.core.identifiers import LOOPBACK
from syftnotify.core.text import listed

_MAX_LENGTH = 65536  # httpx rejects longer URLs
_HOST = re.compile(r"[\w.-]*[^\W\d]\.?")  # does not end with a digit, which would be an IPv4 address


def is_safe_url(url: str) -> bool:
    """Whether secrets may be sent to `url`: https, or http to this machine (an emulator, a proxy)."""
    scheme = _scheme(url)
    return scheme == "https" or (scheme == "http" and urlsplit(url).hostname in LOOPBACK)


def unencrypted(exposed: Sequence[str], scheme: str = "http") -> str:
    """The warning that these parts of requests, by name (at least one), leave this machine unencrypted."""
    verb = "is" if len(exposed) == 1 else "are"
    return f"{listed(exposed, 'and')} {verb} sent over unencrypted {scheme}:// and can be read on the way"


def checked_page_url(url: str) -> str:
    """The address of a site without a slash at its end.

    Raises:
        ValueError: it is none, or has more than scheme, host and port: the page has absolute paths.
    """
    parts = urlsplit(url) if _scheme(url) in {"http", "https"} else None
    if parts is None or parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("expected an address without a path, such as https://notify.lab.example")
    return url.rstrip("/")


def _scheme(url: str) -> str:
    """The scheme of a URL to which requests can be sent; empty for any other text."""
    if not url.isprintable() or url != url.strip() or len(url) > _MAX_LENGTH:
        return ""
    try:
        parts = urlsplit(url)
        return parts.scheme if parts.port != 0 and _is_host(parts.hostname or "") else ""
    except ValueError:
        return ""


def _is_host(host: str) -> bool:
    if not _HOST.fullmatch(host):
        return _is_ip_address(host)
    return (host.isascii() and "xn--" not in host) or _is_international(host)


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_international(host: str) -> bool:
    """Whether httpx can encode `host` (IDNA 2008)."""
    import httpx  # slow to import, and such names are rare

    try:
        return bool(httpx.URL(scheme="https", host=host).host)
    except (httpx.InvalidURL, ValueError):
        return False


def _safe_url(value: Any) -> str:
    url = value.strip() if isinstance(value, str) else ""
    if not is_safe_url(url):
        raise ValueError("expected an https URL (http only for this machine)")
    return url


def _secret_url(value: Any) -> SecretStr:
    return SecretStr(_safe_url(value))


def _web_url(value: Any) -> SecretStr:
    url = value.strip() if isinstance(value, str) else ""
    if _scheme(url) not in {"http", "https"}:
        raise ValueError("expected a URL such as 'https://hooks.example/x'")
    return SecretStr(url)


SafeUrl = Annotated[str, BeforeValidator(_safe_url)]  # https, or http to this machine
# Secrets: never shown.
SecretUrl = Annotated[SecretStr, BeforeValidator(_secret_url)]  # https, or http to this machine
WebUrl = Annotated[SecretStr, BeforeValidator(_web_url)]
