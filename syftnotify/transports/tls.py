"""The certificate authorities that HTTPS connections trust."""

from __future__ import annotations

import os
import ssl
import threading
from functools import cache
from pathlib import Path

import certifi

from syftnotify.core.errors import DeliveryError, Failure

_LOADING = threading.Lock()
_Location = tuple[str, str | None, str | None]  # name for errors, CA file, CA directory


def ca_context() -> ssl.SSLContext:
    """A context with the CA bundles of SSL_CERT_FILE/SSL_CERT_DIR, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE.

    If none of these variables is set, with that of certifi. `httpx.create_ssl_context` reads only the first two, loads
    the bundle again for each client (50 ms), and its errors do not name the variable.

    Raises:
        DeliveryError: UNREACHABLE, a bundle cannot be read.
    """
    locations = _configured_locations() or [("certifi", certifi.where(), None)]
    with _LOADING:  # threads that start together load them only once
        return _load_context(tuple(locations))


def _configured_locations() -> list[_Location]:
    """The bundles that environment variables name."""
    file, directory = os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None
    locations: list[_Location] = [("SSL_CERT_FILE or SSL_CERT_DIR", file, directory)] if file or directory else []
    bundles = {name: os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
    locations += [
        (name, None, path) if Path(path).is_dir() else (name, path, None) for name, path in bundles.items() if path
    ]
    return locations


@cache
def _load_context(locations: tuple[_Location, ...]) -> ssl.SSLContext:
    """A context that trusts only the authorities at `locations`, of which there is at least one."""
    (name, file, directory), *others = locations
    try:
        context = ssl.create_default_context(cafile=file, capath=directory)
        for name, file, directory in others:  # noqa: B007 - for the error message
            context.load_verify_locations(file, directory)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DeliveryError(
            Failure.UNREACHABLE, f"cannot read the CA certificates that {name} names: {reason}; correct or unset it"
        ) from None
    return context
