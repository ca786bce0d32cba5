"""Store contract: access tokens."""

from __future__ import annotations

from syftnotify.core.outbox import OutboxStore
from syftnotify.core.tokens import Role, SignInLink, Token, token_hash
from tests.integration.store_contract.stores import OpenOutbox
from tests.support import ANA, BO

FIRST = Token("a1", ANA, Role.VIEWER, 100.0, 500.0)
SECOND = Token("b2", BO, Role.SERVICE, 200.0)


def test_tokens_are_found_by_the_hash_of_their_secret(outbox: OutboxStore, open_outbox: OpenOutbox) -> None:
    outbox.tokens.add(SECOND, token_hash("second"))
    outbox.tokens.add(FIRST, token_hash("first"))
    other = open_outbox()

    assert other.tokens.all() == [FIRST, SECOND]
    assert other.tokens.find(token_hash("first")) == FIRST
    assert other.tokens.find("first") is None


def test_revoked_token_is_revoked_once(outbox: OutboxStore) -> None:
    outbox.tokens.add(FIRST, token_hash("first"))

    assert outbox.tokens.revoke("a1", 300.0) is True
    assert outbox.tokens.revoke("a1", 400.0) is False
    assert outbox.tokens.revoke("unknown", 400.0) is False
    found = outbox.tokens.find(token_hash("first"))
    assert found is not None
    assert found.revoked_at == 300.0
    assert not found.is_valid(350.0)


def test_token_is_valid_until_it_expires() -> None:
    assert FIRST.is_valid(499.0)
    assert not FIRST.is_valid(500.0)
    assert SECOND.is_valid(1e12)


def add_link(outbox: OutboxStore, name: str, user: str, expires_at: float, now: float = 50.0) -> bool:
    return outbox.tokens.add_link(SignInLink(name, user, "browser", now, expires_at), of_person=2, of_all=3)


def test_link_is_used_once_in_its_browser_until_it_expires(outbox: OutboxStore) -> None:
    assert add_link(outbox, "a", ANA, 200.0)
    assert add_link(outbox, "b", ANA, 90.0)

    assert outbox.tokens.use_link("a", "other", 100.0) == ""
    assert outbox.tokens.use_link("b", "browser", 100.0) == "", "it has expired"
    assert [outbox.tokens.use_link("a", "browser", 100.0) for _ in range(2)] == [ANA, ""]


def test_links_of_one_person_and_of_all_are_limited_until_they_expire(outbox: OutboxStore) -> None:
    assert [add_link(outbox, name, ANA, 200.0) for name in "abc"] == [True, True, False]
    assert [add_link(outbox, name, BO, 200.0) for name in "de"] == [True, False]
    assert add_link(outbox, "f", ANA, 400.0, now=201.0)


def test_ended_sessions_are_deleted_and_tokens_are_not(outbox: OutboxStore) -> None:
    for name, session_of in (("token", None), ("session", ""), ("other", "token")):
        outbox.tokens.add(Token(name, ANA, Role.VIEWER, 1.0, 100.0, session_of=session_of), f"hash of {name}")
    outbox.tokens.revoke("other", 300.0)
    outbox.tokens.delete_sessions(200.0)

    assert {token.id for token in outbox.tokens.all()} == {"token"}
    assert outbox.tokens.get("session") is None
    assert [token.id for token in outbox.tokens.of_user(ANA)] == ["token"]
    assert [token.is_session for token in outbox.tokens.all()] == [False]
