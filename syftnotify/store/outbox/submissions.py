"""Copies of submissions, with which later ones of the same submitter are compared."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from syftnotify.core.kinds import Status
from syftnotify.core.submissions import Decision, Submission, SubmissionVersion
from syftnotify.core.text import escape
from syftnotify.store.outbox.conditions import chunks
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.inserts import Upsert
from syftnotify.store.outbox.schema import SUBMISSIONS

log = logging.getLogger(__name__)

# Copies that are kept of one submitter: so many of decided and of waiting submissions, each at most 500 KB of text.
_KEPT = 40
_KEPT_HASHES = 2000  # copies of one submitter of which the hashes are kept, by which a change of files is found
_KEPT_IN_ALL, _KEPT_HASHES_IN_ALL = 2000, 50_000  # of all submitters
_COMPARED = 20  # decided ones with which a new submission is compared
_CONTENT = ("name", "fingerprint", "files", "hashes", "recorded_at")  # columns that a second copy replaces


def _pack(texts: Mapping[str, str]) -> bytes:
    return zlib.compress(json.dumps(dict(texts)).encode("ascii"))


_NOTHING = _pack({})
_UPSERT = Upsert(SUBMISSIONS, ["entity", "submission"], lambda new: {name: new[name] for name in _CONTENT})
_OF_SUBMISSION = sa.and_(
    SUBMISSIONS.c.entity == sa.bindparam("of_entity"), SUBMISSIONS.c.submission == sa.bindparam("of_id")
)
_DECIDE = (
    SUBMISSIONS.update()
    .where(_OF_SUBMISSION)
    .values(status=sa.bindparam("new_status"), reason=sa.bindparam("new_reason"), decided_at=sa.bindparam("new_time"))
)
_MARK_RAN = SUBMISSIONS.update().where(_OF_SUBMISSION).values(has_run=True)

# Where the submitter is only claimed, a scientist can have any number of names. So there is a limit for all of them.
_BY_AGE = sa.select(SUBMISSIONS.c.seq).order_by(SUBMISSIONS.c.seq.desc())
_DROP_TEXTS = (
    SUBMISSIONS.update()
    .where(SUBMISSIONS.c.seq < _BY_AGE.limit(1).offset(_KEPT_IN_ALL).scalar_subquery(), SUBMISSIONS.c.files != _NOTHING)
    .values(files=_NOTHING)
)
_DROP_ROWS = SUBMISSIONS.delete().where(
    SUBMISSIONS.c.seq < _BY_AGE.limit(1).offset(_KEPT_HASHES_IN_ALL).scalar_subquery()
)


class SubmissionLog:
    """Implements `core.submissions.SubmissionLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        submissions: Sequence[Submission],
        decisions: Sequence[Decision],
        now: float,
        *,
        ran: Collection[tuple[str, str]] = (),
    ) -> None:
        if not (submissions or decisions or ran):
            return
        with self._database.writing() as connection:
            if submissions:
                _UPSERT.execute(connection, [_row(submission, now) for submission in submissions])
                for owner, submitter in {(each.owner, each.submitter) for each in submissions}:
                    _drop_old(connection, owner, submitter)
                connection.execute(_DROP_TEXTS)
                connection.execute(_DROP_ROWS)
            if decisions:
                connection.execute(_DECIDE, [_decision_row(each) for each in decisions])
            if ran:
                connection.execute(_MARK_RAN, [{"of_entity": entity, "of_id": each} for entity, each in ran])

    def versions(self, entities: Collection[str]) -> dict[tuple[str, str], SubmissionVersion]:
        columns = (
            *(SUBMISSIONS.c.entity, SUBMISSIONS.c.submission),
            *(SUBMISSIONS.c.fingerprint, SUBMISSIONS.c.recorded_at, SUBMISSIONS.c.has_run),
        )
        found: dict[tuple[str, str], SubmissionVersion] = {}
        with self._database.reading() as connection:
            for some in chunks(sorted(entities)):
                rows = connection.execute(sa.select(*columns).where(SUBMISSIONS.c.entity.in_(some)))
                found |= {
                    (row.entity, row.submission): SubmissionVersion(row.fingerprint, row.recorded_at, row.has_run)
                    for row in rows
                }
        return found

    def find(self, entity: str, submission_id: str) -> Submission | None:
        query = sa.select(SUBMISSIONS).where(SUBMISSIONS.c.entity == entity, SUBMISSIONS.c.submission == submission_id)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _submission(row)

    def decided(self, owner: str, submitter: str) -> list[Submission]:
        query = (
            sa.select(SUBMISSIONS)
            .where(
                SUBMISSIONS.c.owner == owner,
                SUBMISSIONS.c.submitter == submitter,
                SUBMISSIONS.c.status != Status.WAITING.value,
            )
            .order_by(SUBMISSIONS.c.seq.desc())
            .limit(_COMPARED)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [submission for row in rows if (submission := _submission(row)) is not None]


def _row(submission: Submission, now: float) -> dict[str, Any]:
    return {
        "entity": submission.entity,
        "submission": submission.submission_id,
        "owner": submission.owner,
        "submitter": submission.submitter,
        "name": _storable(submission.name),
        "fingerprint": submission.fingerprint,
        "files": _pack(submission.files),
        "hashes": _pack(submission.hashes),
        "recorded_at": now,
        "status": submission.status.value,
        "reason": _storable(submission.reason),
        "decided_at": submission.decided_at,
    }


def _decision_row(decision: Decision) -> dict[str, Any]:
    return {
        "of_entity": decision.entity,
        "of_id": decision.submission_id,
        "new_status": decision.status.value,
        "new_reason": _storable(decision.reason),
        "new_time": decision.decided_at,
    }


def _drop_old(connection: sa.Connection, owner: str, submitter: str) -> None:
    """Drop the texts of the oldest copies of one submitter, and copies of which not even the hashes are kept."""
    is_of_submitter = sa.and_(SUBMISSIONS.c.owner == owner, SUBMISSIONS.c.submitter == submitter)
    by_age = sa.select(SUBMISSIONS.c.seq).where(is_of_submitter).order_by(SUBMISSIONS.c.seq.desc())
    with_hashes = by_age.limit(_KEPT_HASHES)
    # Submissions that wait do not displace those with which later ones are compared.
    is_decided = SUBMISSIONS.c.status != Status.WAITING.value
    decided, waiting = by_age.where(is_decided).limit(_KEPT), by_age.where(~is_decided).limit(_KEPT)
    is_old = sa.and_(
        is_of_submitter,
        SUBMISSIONS.c.seq.not_in(decided),
        SUBMISSIONS.c.seq.not_in(waiting),
        SUBMISSIONS.c.files != _NOTHING,
    )
    connection.execute(SUBMISSIONS.update().where(is_old).values(files=_NOTHING))
    connection.execute(SUBMISSIONS.delete().where(is_of_submitter, SUBMISSIONS.c.seq.not_in(with_hashes)))


def _storable(text: str) -> str:
    """Text for display without lone surrogates, which names that are not UTF-8 contain, and SQLite cannot store."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _unpack(content: bytes) -> dict[str, str]:
    texts = dict(json.loads(zlib.decompress(content)))
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError("not texts")
    return texts


def _submission(row: Any) -> Submission | None:
    """The submission of a row; None, with a log entry, if the row is not valid."""
    try:
        return Submission(
            row.entity,
            row.submission,
            row.owner,
            row.submitter,
            row.name,
            row.fingerprint,
            _unpack(row.files),
            _unpack(row.hashes),
            Status(row.status),
            row.reason,
            row.decided_at,
        )
    except (ValueError, TypeError, RecursionError, zlib.error) as error:
        log.error("the stored copy of submission %s is not valid (%s) and is ignored", escape(str(row.entity)), error)
        return None
