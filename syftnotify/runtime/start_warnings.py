"""Warnings that a worker reports when it starts."""

from __future__ import annotations

from collections.abc import Iterator

from syftnotify.core.outbox import AlertRuleStore
from syftnotify.runtime.container import App
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.system.syft_bg import second_notifier
from syftnotify.transports.webhook.alert_targets import target_warning


def start_warnings(app: App, report: ScanReport) -> list[str]:
    """The warnings about configuration and machine, and the problems of the first scan."""
    return [
        *app.settings.warnings,
        *report.problems,
        *_alert_rules(app.outbox.alert_rules),
        *_second_notifier(),
        *_disabled_settings(app),
        *_missing_folders(app, report),
    ]


def _alert_rules(rules: AlertRuleStore) -> Iterator[str]:
    if names := rules.unreadable:
        yield f"the address of alert rule {', '.join(names)} cannot be decrypted; restore secret.key or add it again"
    for rule in rules.all():
        if warning := target_warning(rule):
            yield f"alert rule {rule.id}: {warning}; remove it and add it with an https:// address"


def _second_notifier() -> Iterator[str]:
    if pid := second_notifier():
        yield f"syft-bg's notify service runs too (pid {pid}), so every mail is sent twice; run `syft-bg stop notify`"


def _disabled_settings(app: App) -> Iterator[str]:
    notify = app.settings.config.notify
    if not notify.enabled:
        yield "notify.enabled is false: nothing is sent"
    elif notify.monitor_peers and not notify.monitor_jobs:
        yield "notify.monitor_jobs is false: no notifications about jobs are sent"


def _missing_folders(app: App, report: ScanReport) -> Iterator[str]:
    config = app.settings.config
    if report.waiting_for:
        yield f"{report.waiting_for}; the first scan starts when it is there"
    elif not app.jobs.job_folders():
        missing = "no data owner has a" if config.for_scientist else f"{config.do_email} has no"
        yield f"{missing} job folder below {app.settings.root} yet"
