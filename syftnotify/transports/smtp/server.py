"""What an SMTP address says: `smtps://user:password@host:465`, `smtp://host:587?tls=required`."""

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
    """One mail server, and how to sign in there. The password is never shown.

    `tls`: `implicit` encrypts at once, `required` by STARTTLS or not at all, `off` never.
    """

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = "required"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mail address with the name that people see."""

    address: str
    name: str = ""


def smtp_server(text: object) -> SmtpServer:
    """The server that an address names.

    Raises:
        ValueError: it is none. The text does not repeat the address: a password stands in it.
    """
    shape = (
        "expected an address such as 'smtp://user:password@mail.example:587', letters like @ and # written as %40, %23"
    )
    if not isinstance(text, str):
        raise ValueError(shape)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError(shape) from None
    if parts.scheme not in {"smtp", "smtps"} or not host or parts.path not in {"", "/"} or parts.fragment:
        raise ValueError(shape)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if any(not character.isprintable() for character in host + user + password):
        raise ValueError(shape)
    tls = _tls(parts.scheme, host, options)
    if password and tls == "off" and host not in LOOPBACK:
        raise ValueError("a password never travels unencrypted: leave `tls=off` out")
    return SmtpServer(host, port or _PORTS[tls], user, password, tls)


_TLS_WORDS: dict[object, Tls] = {
    "implicit": "implicit",
    "tls": "implicit",
    "required": "required",
    "starttls": "required",
    "off": "off",
    False: "off",  # how YAML reads `off`
}


def smtp_server_of(host: object, port: object, user: object, password: object, tls: object) -> SmtpServer:
    """The server that single settings name; None where one is unset.

    Raises:
        ValueError: some of them are wrong; the text lists all of these. It repeats no password.
    """
    mistakes = []
    if not isinstance(host, str) or not host or not host.isprintable() or "/" in host or "@" in host:
        mistakes.append("`host` must be the name of a mail server, such as mail.example")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        mistakes.append("`port` must be a number from 1 to 65535")
    for name, each in (("user", user), ("password", password)):
        if each is not None and not (isinstance(each, str) and each.isprintable()):
            mistakes.append(f"`{name}` must be one line of text without control characters")
    if tls is None:
        way: Tls | None = "implicit" if port == 465 else "off" if host in LOOPBACK else "required"
    else:
        way = _TLS_WORDS.get(tls) if isinstance(tls, (str, bool)) else None
    if way is None:
        mistakes.append("`tls` must be starttls, implicit or off")
    if password and way == "off" and host not in LOOPBACK:
        mistakes.append("a password is never sent unencrypted: remove `tls: off`")
    if mistakes or way is None:
        raise ValueError("; ".join(mistakes))
    number = port if isinstance(port, int) and port else _PORTS[way]
    return SmtpServer(str(host), number, str(user or ""), str(password or ""), way)


def _tls(scheme: str, host: str, options: dict[str, str]) -> Tls:
    wanted = options.pop("tls", None)
    if options:
        raise ValueError("the only option of an SMTP address is `tls`; a `?` in a password is written as %3F")
    if wanted not in {None, "required", "off"}:
        raise ValueError("`tls` is `required` or `off`")
    if scheme == "smtps":
        if wanted == "off":
            raise ValueError("smtps:// is encrypted from the start; say smtp:// for `tls=off`")
        return "implicit"
    if wanted is None:
        return "off" if host in LOOPBACK else "required"
    return "required" if wanted == "required" else "off"


def mailbox(text: object) -> Mailbox:
    """`noreply@mail.example`, or `SyftBox <noreply@mail.example>`. Raises: ValueError."""
    shape = "expected an address, or a name and an address: 'SyftBox <noreply@mail.example>'"
    if not isinstance(text, str):
        raise ValueError(shape)
    found = getaddresses([text])
    name, address = found[0] if len(found) == 1 else ("", "")
    if not is_address(address) or (name and not name.isprintable()) or (not name and text.strip(" <>") != address):
        raise ValueError(shape)
    return Mailbox(address, name)
