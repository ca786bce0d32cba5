"""Store contract: access tokens."""

from __future__ import annotations

from syftnotify.core.outbox import OutboxStore
from syftnotify.core.tokens import Role, Token, token_hash
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
