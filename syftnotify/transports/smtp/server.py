"""SMTP servers and mailboxes as configured: `smtps://user:password@host:465`, `SyftBox <noreply@mail.example>`."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import getaddresses
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from syftnotify.core.identifiers import LOOPBACK, is_address

Tls = Literal["implicit", "required", "off"]
_PORTS: dict[Tls, int] = {"implicit": 465, "required": 587, "off": 25}


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """An SMTP server and the credentials for it; `repr` omits the password."""

    host: str
    port: int
    user: str = ""  # empty: no sign-in
    password: str = field(default="", repr=False)
    tls: Tls = "required"  # `implicit`: encrypted from the start; `required`: STARTTLS; `off`: not encrypted


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mail address with an optional display name."""

    address: str
    name: str = ""


def parse_smtp_url(url: object) -> SmtpServer:
    """The server that a URL describes: `smtp://user:password@host:587?tls=off`, `smtps://host`.

    Raises:
        ValueError: `url` is invalid. The message does not repeat it, because it may contain a password.
    """
    expected = (
        "expected a URL such as 'smtp://user:password@mail.example:587', with characters like @ and # as %40 and %23"
    )
    if not isinstance(url, str):
        raise ValueError(expected)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in {"smtp", "smtps"} or not host or parts.path not in {"", "/"} or parts.fragment:
        raise ValueError(expected)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if any(not character.isprintable() for character in host + user + password):
        raise ValueError(expected)
    tls = _tls_of_url(parts.scheme, host, options)
    if password and tls == "off" and host not in LOOPBACK:
        raise ValueError("a password is never sent unencrypted; remove `tls=off`")
    return SmtpServer(host, port or _PORTS[tls], user, password, tls)


_TLS_SPELLINGS: dict[object, Tls] = {
    "implicit": "implicit",
    "tls": "implicit",
    "required": "required",
    "starttls": "required",
    "off": "off",
    False: "off",  # how YAML reads `off`
}


def smtp_server_from_settings(host: object, port: object, user: object, password: object, tls: object) -> SmtpServer:
    """The server that separate settings describe, as written in the file; an unset one is None.

    Raises:
        ValueError: some are invalid; the message lists them all, without the password.
    """
    errors = []
    if not isinstance(host, str) or not host or not host.isprintable() or "/" in host or "@" in host:
        errors.append("`host` must be the name of a mail server, such as mail.example")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        errors.append("`port` must be a number from 1 to 65535")
    for name, value in (("user", user), ("password", password)):
        if value is not None and not (isinstance(value, str) and value.isprintable()):
            errors.append(f"`{name}` must be one line of text without control characters")
    mode = _default_tls(str(host), port) if tls is None else _tls_of_setting(tls)
    if mode is None:
        errors.append("`tls` must be starttls, implicit or off")
    if password and mode == "off" and str(host) not in LOOPBACK:
        errors.append("a password is never sent unencrypted: remove `tls: off`")
    if errors or mode is None:
        raise ValueError("; ".join(errors))
    number = port if isinstance(port, int) and port else _PORTS[mode]
    return SmtpServer(str(host), number, str(user or ""), str(password or ""), mode)


def _default_tls(host: str, port: object) -> Tls:
    """The mode for a server without a setting of its mode: implicit on port 465, off on this machine."""
    if port == _PORTS["implicit"]:
        return "implicit"
    return "off" if host in LOOPBACK else "required"


def _tls_of_setting(value: object) -> Tls | None:
    return _TLS_SPELLINGS.get(value) if isinstance(value, (str, bool)) else None


def _tls_of_url(scheme: str, host: str, options: dict[str, str]) -> Tls:
    """The mode that the scheme and the query of a URL select. Removes `tls` from `options`. Raises: ValueError."""
    value = options.pop("tls", None)
    if options:
        raise ValueError("the only option of an SMTP URL is `tls`; write a `?` in a password as %3F")
    if value not in {None, "required", "off"}:
        raise ValueError("`tls` must be `required` or `off`")
    if scheme == "smtps":
        if value == "off":
            raise ValueError("smtps:// is encrypted from the start; use smtp:// for `tls=off`")
        return "implicit"
    if value is None:
        return _default_tls(host, None)
    return "required" if value == "required" else "off"


def parse_mailbox(text: object) -> Mailbox:
    """The mailbox in `noreply@mail.example` or `SyftBox <noreply@mail.example>`.

    Raises:
        ValueError: `text` is something else.
    """
    expected = "expected an address, or a name and an address: 'SyftBox <noreply@mail.example>'"
    if not isinstance(text, str):
        raise ValueError(expected)
    found = getaddresses([text])
    name, address = found[0] if len(found) == 1 else ("", "")
    if not is_address(address) or (name and not name.isprintable()) or (not name and text.strip(" <>") != address):
        raise ValueError(expected)
    return Mailbox(address, name)
