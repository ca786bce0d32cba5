"""Alert rules: the list, a form, and what a rule would have reported."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from syftnotify.config.load import Settings
from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.matching import literal_text
from syftnotify.core.models import AlertRule
from syftnotify.core.text import escape, hostname
from syftnotify.services.alert_preview import RulePreview, preview_rule
from syftnotify.services.alert_rules import (
    MAX_MINUTES,
    RuleOptions,
    create_page_rule,
    delete_rule,
    endpoints,
    save_rule,
)
from syftnotify.web.page.access import FORM_OF_OPERATOR, CheckedForm, Form, OperatorParameter, Visitor
from syftnotify.web.page.rendering import go_to, page_router, render
from syftnotify.web.problems import error_detail
from syftnotify.web.state import ServerState, State

router = page_router()

_FIELDS = ("job", "tag", "target", "minutes")
_CONDITIONS = ("on_failure", "on_timeout", "on_success")
_EMPTY = {**dict.fromkeys(_FIELDS, ""), "on_failure": True, "on_timeout": True, "on_success": False}


@router.get("/rules")
def list_rules(request: Request, state: State, visitor: OperatorParameter) -> Response:
    """All alert rules, and the form for a new one."""
    return _page(request, state, visitor)


@router.post("/rules")
def preview_or_add(request: Request, state: State, visitor: OperatorParameter, form: CheckedForm) -> Response:
    """Show what a rule would have reported, or save it."""
    values: dict[str, Any] = {name: form.get(name) for name in _FIELDS} | {name: form.has(name) for name in _CONDITIONS}
    try:
        new = create_page_rule(state.settings, _options(state.settings, form))
        if form.get("action") == "add":
            save_rule(state.outbox, new.rule)
            return go_to("/rules", done="rule-added")
    except NotifyError as error:
        return _page(request, state, visitor, values, error=error_detail(error))
    preview = preview_rule(state.outbox, new.rule)
    return _page(request, state, visitor, values, preview=preview, warning=new.warning)


@router.post("/rules/{rule_id}/delete", dependencies=FORM_OF_OPERATOR)
def remove_rule(state: State, rule_id: str) -> Response:
    """Delete an alert rule."""
    delete_rule(state.outbox, rule_id)
    return go_to("/rules", done="rule-deleted")


def is_mail_target(target: str) -> bool:
    """Whether a visitor has entered a mail address, and not a URL or the name of a transport."""
    return "@" in target and "://" not in target


def _options(settings: Settings, form: Form) -> RuleOptions:
    target, minutes = form.get("target"), form.get("minutes")
    is_email = is_mail_target(target)
    if not is_email and "://" not in target and target not in endpoints(settings):
        raise ConfigError("the target is neither a mail address nor a webhook transport nor a URL")
    try:
        limit = float(minutes) if minutes else None
    except ValueError:
        limit = 0.0
    if limit is not None and not 0 < limit < MAX_MINUTES:
        raise ConfigError(f"runs longer than: expected minutes, a number above 0 and below {MAX_MINUTES:,}")
    return RuleOptions(
        job=form.get("job"),
        tag=form.get("tag"),
        email=target if is_email else "",
        webhook="" if is_email else target,
        on_failure=form.has("on_failure"),
        on_timeout=form.has("on_timeout"),
        on_success=form.has("on_success"),
        on_long_run_minutes=limit,
    )


def _page(
    request: Request,
    state: ServerState,
    visitor: Visitor,
    values: Mapping[str, Any] = _EMPTY,
    *,
    error: str = "",
    warning: str = "",
    preview: RulePreview | None = None,
) -> Response:
    rules = state.outbox.alert_rules.all()
    return render(
        request,
        "rules.html",
        visitor,
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        rules=[*map(rule_view, rules)],
        values=values,
        error=error,
        warning=warning,
        preview=preview,
        endpoints=endpoints(state.settings),
    )


def rule_view(rule: AlertRule) -> Mapping[str, Any]:
    """The variables about one rule. Of a URL only the host is shown: the rest may be a secret."""
    conditions = [
        text
        for is_set, text in (
            (rule.on_failure, "failure"),
            (rule.on_timeout, "timeout"),
            (rule.on_success, "success"),
            (rule.on_long_run_minutes is not None, f"runs longer than {rule.on_long_run_minutes or 0:g} minutes"),
        )
        if is_set
    ]
    return {
        "id": rule.id,
        "jobs": escape(literal_text(rule.job)) if rule.job else "",
        "tag": escape(rule.tag),
        "target": escape(hostname(rule.target) if rule.has_url else rule.target),
        "conditions": ", ".join(conditions),
        "endpoint": rule.endpoint if rule.has_url else "",
        "created_at": rule.created_at,
    }
