"""Sessions of the page: by a token of the API, or by a mailed link."""

from __future__ import annotations

import contextlib
import hmac
import logging
import secrets
import time
import uuid
from dataclasses import dataclass

from syftnotify.config.load import Settings
from syftnotify.core.errors import ConfigError, DeliveryError, Failure
from syftnotify.core.inbox import InboxFilter
from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import iso
from syftnotify.core.tokens import Role, SignInLink, Token, token_hash
from syftnotify.delivery.direct import send_now
from syftnotify.services.tokens import checked_user, find_token
from syftnotify.services.transports import build_renderer

log = logging.getLogger(__name__)

SESSION_SECONDS = 7 * 86400.0
LINK_SECONDS = 15 * 60.0
_LINKS_OF_ONE, _LINKS_OF_ALL = 3, 60  # links that may be mailed within `LINK_SECONDS`
_PREFIX = "sys_"  # of the secrets of sessions, which are not valid for the API
_SECRET_BYTES = 32
_ID_BYTES = 6


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is signed in to the page."""

    user: str
    role: Role  # VIEWER or OPERATOR
    id: str  # of its stored token; of a person that a proxy names, another text
    is_stored: bool = True  # False: a proxy names the person in each request


def new_secret() -> str:
    """A secret that nobody can guess, for a cookie or a link."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def role_of(settings: Settings, outbox: OutboxStore, user: str) -> Role | None:
    """What a person may do who proves to be `user` without a token; None: the person is not known here.

    The owner may do everything, others what their tokens permit; whoever has notifications may read them.
    """
    name, now = user.strip().lower(), time.time()
    if name == settings.config.do_email.lower():
        return Role.OPERATOR
    roles = {each.role for each in outbox.tokens.of_user(name) if each.is_valid(now)}
    if Role.OPERATOR in roles:
        return Role.OPERATOR
    if Role.VIEWER in roles or outbox.inbox.page(name, InboxFilter(), 1).entries:
        return Role.VIEWER
    return None


def find_person_token(outbox: OutboxStore, secret: str) -> Token | None:
    """The valid token with this secret, with which a session can begin: not one of a service."""
    token = find_token(outbox, secret.strip())
    return None if token is None or token.role is Role.SERVICE else token


def start_session_by_token(outbox: OutboxStore, token: Token) -> str:
    """Begin a session with a token of `find_person_token`; returns the secret of the session."""
    return _start(outbox, token.user, token.role, token.id, token.expires_at)


def start_session_by_link(settings: Settings, outbox: OutboxStore, link: str, browser: str) -> str:
    """Begin a session with the secrets of a mailed link and of the browser that asked for it.

    Returns:
        The secret of the session; empty: the link was used, has expired, or is that of another browser.
    """
    user = outbox.tokens.use_link(token_hash(link), token_hash(browser), time.time())
    role = role_of(settings, outbox, user) if user else None
    return "" if role is None else _start(outbox, user, role, "", None)


def _start(outbox: OutboxStore, user: str, role: Role, session_of: str, limit: float | None) -> str:
    now = time.time()
    expires_at = now + SESSION_SECONDS if limit is None else min(limit, now + SESSION_SECONDS)
    token = Token(secrets.token_hex(_ID_BYTES), user, role, now, expires_at, session_of=session_of)
    secret = f"{_PREFIX}{new_secret()}"
    outbox.tokens.delete_sessions(now - SESSION_SECONDS)
    outbox.tokens.add(token, token_hash(secret))
    return secret


def find_session(settings: Settings, outbox: OutboxStore, secret: str) -> Session | None:
    """The valid session with this secret. It ends with its token, and when its person is not known any more."""
    token = outbox.tokens.find(token_hash(secret)) if secret.startswith(_PREFIX) else None
    now = time.time()
    if token is None or token.session_of is None or not token.is_valid(now):
        return None
    if token.session_of and ((parent := outbox.tokens.get(token.session_of)) is None or not parent.is_valid(now)):
        return None
    role = token.role if token.session_of else role_of(settings, outbox, token.user)
    return None if role is None else Session(token.user, role, token.id)


def valid_token_ids(outbox: OutboxStore) -> frozenset[str]:
    """The ids of valid tokens, and of sessions whose token is valid."""
    now = time.time()
    valid = {token.id: token for token in outbox.tokens.all() if token.is_valid(now)}
    return frozenset(each.id for each in valid.values() if not each.session_of or each.session_of in valid)


def end_session(outbox: OutboxStore, session: Session) -> None:
    """End a session."""
    if session.is_stored:
        outbox.tokens.revoke(session.id, time.time())


def csrf_token(outbox: OutboxStore, session: Session) -> str:
    """What each form of a session must contain: other sites cannot read it."""
    return hmac.digest(outbox.tokens.cursor_key().encode("ascii"), f"csrf {session.id}".encode(), "sha256").hex()


@dataclass(frozen=True, slots=True)
class LinkMail:
    """A link that is stored, and has to be mailed."""

    user: str
    url: str


def create_link(settings: Settings, outbox: OutboxStore, user: str, browser: str, base_url: str) -> LinkMail | None:
    """Store a link for a known person; None: the person is not known, or has got enough links.

    Args:
        settings: with the owner's address.
        outbox: where links are stored.
        user: what a visitor entered.
        browser: the secret of the visitor's browser.
        base_url: address of the page; the secret of the link follows.
    """
    try:
        name = checked_user(user)
    except ConfigError:
        return None
    if "@" not in name or role_of(settings, outbox, name) is None:
        return None
    now, secret = time.time(), new_secret()
    link = SignInLink(token_hash(secret), name, token_hash(browser), now, now + LINK_SECONDS)
    if not outbox.tokens.add_link(link, of_person=_LINKS_OF_ONE, of_all=_LINKS_OF_ALL):
        log.warning(
            "no link to sign in is mailed to %s: there were too many within %d minutes", name, LINK_SECONDS // 60
        )
        return None
    return LinkMail(name, f"{base_url}/{secret}")


def send_link(settings: Settings, mail: LinkMail) -> None:
    """Mail a link, without the outbox: it must not be stored.

    Raises:
        DeliveryError: it was not sent.
    """
    name, section = settings.default_mail_transport, settings.mail_settings
    if section is None:
        raise DeliveryError(Failure.PERMANENT, "no transport can send mail")
    payload = {
        "owner": settings.config.do_email,
        "sign_in_url": mail.url,
        "minutes": int(LINK_SECONDS // 60),
    }
    event = Event(EventKind.SIGN_IN, f"sign-in/{uuid.uuid4()}", at=iso(time.time(), exact=True), payload=payload)
    item = Item(uuid.uuid4().hex, event, Audience.OWNER, Status.WAITING)
    message = build_renderer(settings, name, section).message([item], mail.user)
    with contextlib.closing(section.build_transport(clock=time.time)) as transport:
        send_now(transport, message)
