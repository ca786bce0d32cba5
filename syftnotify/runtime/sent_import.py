"""Takes over from syft-bg what it has sent, so that nothing is sent twice and nothing that it still owes is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from syftnotify.config.load import Settings
from syftnotify.core.detection import detect_jobs, detect_peers, job_payload
from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Job, Notification
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.sent_record import SentJobs, SentRecord
from syftnotify.runtime.container import baseline_scopes
from syftnotify.runtime.opening import create_outbox, open_ledger
from syftnotify.services.readers import job_reader, peer_reader
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.labels import label_of
from syftnotify.system import worker_lock


@dataclass(frozen=True, slots=True)
class ImportedRecord:
    """Numbers of events: those recorded as notified, and those whose notifications the first scan enqueues."""

    settled: int
    owed: int


def import_sent_record(
    settings: Settings, record: SentRecord, *, clock: Callable[[], float] = time.time
) -> ImportedRecord | None:
    """Record as notified what `record` shows as sent. May be repeated with a newer record.

    Returns None if syft-bg never sent anything: then the baseline rules of a first scan apply.

    Raises:
        AlreadyRunningError: a worker runs.
        StateError: the ledger or the outbox cannot be used.
    """
    if record.is_empty:
        return None
    with worker_lock.acquire(settings.home), create_outbox(settings.home) as outbox:
        ledger = open_ledger(settings.home)
        notify = settings.config.notify
        job_scope, peer_scope = baseline_scopes(settings.config)
        jobs: list[Job] = []
        if notify.monitor_jobs:
            job_reader(settings).scan(on_jobs=jobs.extend)
        sent = SentJobs(jobs, record, _FileTimes())
        job_events = detect_jobs(jobs, ledger, now=clock()).events
        owed = _settle_jobs(ledger, jobs, job_events, sent)
        peers_settled, peers_owed = _settle_peers(ledger, settings, record, clock)
        moment = datetime.fromtimestamp(clock(), UTC).isoformat(timespec="seconds")
        for scope, is_monitored in ((job_scope, notify.monitor_jobs), (peer_scope, notify.monitor_peers)):
            if is_monitored and not ledger.baseline(scope):
                ledger.record_baseline(scope, moment)
        open_jobs = [job for job in jobs if not job.ended or job.entity in owed]
        _import_conversations(outbox, settings, open_jobs, sent, clock())
        mailed = {job.submitter.lower() for job in jobs if job.submitter and sent.kinds(job)}
        outbox.recipients.import_mailed(mailed | record.requested | record.granted, clock())
        ledger.set_outbox_progress(outbox.events.progress())
        ledger.save()
    owed_count = sum(owed.values())
    return ImportedRecord(len(job_events) - owed_count + peers_settled, owed_count + peers_owed)


def _settle_jobs(ledger: Ledger, jobs: Sequence[Job], events: Sequence[Event], sent: SentJobs) -> Counter[str]:
    """Record those `events` of `jobs` that are settled; returns the number of the owed ones by entity."""
    by_entity = {job.entity: job for job in jobs}
    owed: Counter[str] = Counter()
    for event in events:
        if sent.is_settled(event, by_entity[event.entity]):
            ledger.mark_settled(event.entity, event.kind, event.occurrence)
        else:
            owed[event.entity] += 1
    for job in jobs:
        for kind in () if job.is_readable else sent.kinds(job):
            # The plain label stands for the occurrence that is found once the job can be read.
            ledger.add_notified(job.entity, label_of(kind))
    return owed


def _settle_peers(
    ledger: Ledger, settings: Settings, record: SentRecord, clock: Callable[[], float]
) -> tuple[int, int]:
    """Record the requests and grants that were sent; returns the numbers of settled and of owed events."""
    owner = settings.config.do_email.lower()
    sent = {
        *((address, EventKind.PEER_REQUESTED) for address in record.requested | record.granted),
        *((address, EventKind.PEER_GRANTED) for address in record.granted),
    }
    for address, kind in sent:
        ledger.mark_settled(entity_id("peer", owner, address), kind, "")
    changes = detect_peers(peer_reader(settings, clock).scan(), ledger)
    for entity, current in changes.rounds.items():
        ledger.set_peer_round(entity, current)
    return len(sent), len(changes.events) if settings.config.notify.monitor_peers else 0


def _import_conversations(
    outbox: OutboxStore, settings: Settings, jobs: Sequence[Job], sent: SentJobs, now: float
) -> None:
    """Record in the outbox the conversations about `jobs`, so that later mails to the owner join them."""
    events, notifications, threads = [], [], {}
    for job in jobs:
        if not (thread := sent.thread(job)):
            continue
        event = Event(EventKind.JOB_SUBMITTED, job.entity, job.submission_id, job.submission_id, job_payload(job))
        notification = Notification(
            event.key,
            event.entity,
            settings.config.do_email.lower(),
            Audience.OWNER,
            settings.default_mail_transport,
            route="syft-bg",
            skipped="sent by syft-bg",
        )
        events.append(event)
        notifications.append(notification)
        threads[notification.id] = thread
    outbox.import_sent(events, notifications, threads, now)


class _FileTimes:
    """Implements `core.sent_record.JobFileTimes`."""

    def arrived_at(self, job: Job) -> float | None:
        return _modified_at(Path(job.base, *job.parts, "config.yaml"))

    def changed_at(self, job: Job) -> float | None:
        times = (_modified_at(Path(job.base, *parts)) for parts in (job.parts, job.results))
        return max((moment for moment in times if moment is not None), default=None)


def _modified_at(path: Path) -> float | None:
    try:
        return path.lstat().st_mtime
    except (OSError, ValueError):
        return None
