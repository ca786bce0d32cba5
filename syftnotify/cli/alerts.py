"""`notify alerts`: add, list and remove alert rules."""

from typing import TYPE_CHECKING, Annotated

import typer

from syftnotify.cli.completion import job_names
from syftnotify.cli.console import print_json, print_line, print_warning
from syftnotify.cli.options import HomeOption, JsonListOption, resolve_home

if TYPE_CHECKING:
    from syftnotify.core.models import AlertRule

alerts_app = typer.Typer(
    name="alerts", help="Manage alert rules for jobs that fail, time out or run long.", no_args_is_help=True
)


@alerts_app.command("add")
def alerts_add(
    context: typer.Context,
    job: Annotated[str, typer.Option(autocompletion=job_names, help="Job name, entity, or pattern: 'nightly-*'.")] = "",
    tag: Annotated[str, typer.Option(help="Tag, or pattern of tags.")] = "",
    email: Annotated[str, typer.Option(help="Alert this mail address.")] = "",
    webhook: Annotated[str, typer.Option(help="Alert this webhook transport, or URL: https://...")] = "",
    on_failure: Annotated[bool, typer.Option(help="Alert on failures.")] = True,
    on_timeout: Annotated[bool, typer.Option(help="Alert on timeouts.")] = True,
    on_success: Annotated[bool, typer.Option(help="Alert on completion.")] = False,
    on_long_run_minutes: Annotated[float | None, typer.Option(help="Alert when a run takes longer.")] = None,
    home: HomeOption = None,
) -> None:
    """Add a rule; a running worker applies it from its next scan on."""
    from syftnotify.runtime.opening import create_outbox
    from syftnotify.services.alert_rules import RuleOptions, create_rule, save_rule
    from syftnotify.system.ownership import check_home

    options = RuleOptions(
        job=job,
        tag=tag,
        email=email,
        webhook=webhook,
        on_failure=on_failure,
        on_timeout=on_timeout,
        on_success=on_success,
        on_long_run_minutes=on_long_run_minutes,
    )
    resolved = resolve_home(context, home)
    check_home(resolved)
    new = create_rule(resolved, options)
    if new.warning:
        print_warning(new.warning)
    with create_outbox(resolved) as outbox:
        save_rule(outbox, new.rule)
    print_line(_describe(new.rule))


@alerts_app.command("list")
def alerts_list(
    context: typer.Context,
    about: Annotated[str, typer.Argument(help="Only rules for this job, pattern or tag.")] = "",
    as_json: JsonListOption = False,
    home: HomeOption = None,
) -> None:
    """List the rules with their ids."""
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services.alert_rules import list_rules

    with open_outbox(resolve_home(context, home)) as outbox:
        rules = list_rules(outbox, about) if outbox else []
    if as_json:
        print_json([_object(rule) for rule in rules])
        return
    for rule in rules:
        print_line(_describe(rule))
    if not rules:
        print_line("no alert rules; add one with `notify alerts add`")


@alerts_app.command("rm")
def alerts_rm(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="Id as `notify alerts list` shows it.")],
    home: HomeOption = None,
) -> None:
    """Remove a rule."""
    from syftnotify.runtime.opening import open_outbox
    from syftnotify.services.alert_rules import remove_rule

    with open_outbox(resolve_home(context, home)) as outbox:
        removed = remove_rule(outbox, name)
    print_line(f"removed {removed.id}")


def _describe(rule: "AlertRule") -> str:
    """Id, jobs, conditions and target on one line."""
    from syftnotify.core.text import escape

    minutes = rule.on_long_run_minutes
    conditions = {
        "failed": rule.on_failure,
        "timed out": rule.on_timeout,
        "completed": rule.on_success,
        f"running for {minutes or 0:g} minutes": bool(minutes),
    }
    jobs = f"job {escape(rule.job)}" if rule.job else f"jobs tagged {escape(rule.tag)}"
    enabled = ", ".join(text for text, is_enabled in conditions.items() if is_enabled)
    return f"{rule.id}  {jobs} {enabled} -> {_describe_target(rule)}"


def _describe_target(rule: "AlertRule") -> str:
    from syftnotify.core.text import escape, hostname

    if not rule.target:
        return "an address that cannot be decrypted; restore secret.key, or remove the rule and add it again"
    if rule.has_url:
        return f"the webhook at {escape(hostname(rule.target))} ({rule.endpoint})"
    return escape(rule.target)


def _object(rule: "AlertRule") -> dict[str, object]:
    """The JSON object of a rule; of a URL only the host is shown."""
    from syftnotify.core.identifiers import is_address
    from syftnotify.core.text import hostname, iso

    return {
        "id": rule.id,
        "job": rule.job or None,
        "tag": rule.tag or None,
        "alert_type": "email" if is_address(rule.target) else "webhook",
        "target": hostname(rule.target) if rule.has_url else rule.target or None,
        "on_failure": rule.on_failure,
        "on_timeout": rule.on_timeout,
        "on_success": rule.on_success,
        "on_long_run_minutes": rule.on_long_run_minutes,
        "created_at": iso(rule.created_at),
    }
