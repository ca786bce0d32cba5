"""`/v1/silences`: notifications that are suppressed for a time, for operators."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query

from syftnotify.services.silences import (
    SilenceOptions,
    add_silence,
    expire_silence,
    find_silence,
    list_silences,
    listed_silence,
    suppressed,
)
from syftnotify.web.access import DENIALS, Operator
from syftnotify.web.problems import responses
from syftnotify.web.records import Delivery, SilenceDetail, SilenceRecord
from syftnotify.web.requests import PAGE_LIMIT, SilenceRequest
from syftnotify.web.state import State

router = APIRouter(prefix="/v1/silences", tags=["silences"])

SilenceId = Annotated[str, Path(pattern="^[0-9a-f]{4,64}$", description="id of the silence")]


@router.get("", responses=responses(*DENIALS))
def list_all(
    _: Operator, state: State, expired: Annotated[bool, Query(description="also those that have ended")] = False
) -> list[SilenceRecord]:
    """The silences, the oldest first."""
    return [SilenceRecord.of(each) for each in list_silences(state.outbox, include_expired=expired)]


@router.post("", status_code=HTTPStatus.CREATED, responses=responses(*DENIALS, has_body=True))
def add(token: Operator, state: State, body: SilenceRequest) -> SilenceRecord:
    """Add a silence; a running worker applies it from its next scan on, also to what is queued."""
    options = SilenceOptions(
        author=token.user,
        reason=body.reason,
        job=body.job,
        submitter=body.submitter,
        owner=body.owner,
        tag=body.tags,
        severity=body.severity,
        events=body.events,
        start=body.starts_at.isoformat() if body.starts_at else "",
        until=body.ends_at.isoformat() if body.ends_at else "",
        until_change=body.ends_at is None,
    )
    return SilenceRecord.of(listed_silence(state.outbox, add_silence(state.home, state.outbox, options)))


@router.get("/{silence_id}", responses=responses(*DENIALS, HTTPStatus.NOT_FOUND))
def get(_: Operator, state: State, silence_id: SilenceId) -> SilenceDetail:
    """One silence, with the latest deliveries that it has suppressed, newest first."""
    found = listed_silence(state.outbox, find_silence(state.outbox, silence_id))
    deliveries = [*map(Delivery.of, suppressed(state.outbox, found.silence, limit=PAGE_LIMIT))]
    return SilenceDetail(silence=SilenceRecord.of(found), suppressed=deliveries)


@router.delete("/{silence_id}", responses=responses(*DENIALS, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def expire(_: Operator, state: State, silence_id: SilenceId) -> SilenceRecord:
    """End a silence now. It stays in the list of ended ones, and what it has suppressed stays skipped."""
    return SilenceRecord.of(listed_silence(state.outbox, expire_silence(state.outbox, silence_id)))
