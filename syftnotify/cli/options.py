"""Option types that several commands share, and the home that a command works in."""

# Command modules have no `from __future__ import annotations`: typer would have to evaluate each annotation, which
# takes a tenth of the time of `notify --help`.
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from syftnotify.system.paths import Home


class Role(StrEnum):
    """The role of the user of this machine."""

    OWNER = "owner"
    SCIENTIST = "scientist"


class LogLevel(StrEnum):
    """Levels of log records."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def parse_path(text: str) -> Path:
    """The value of a path option. An empty one, for example from an unset shell variable, is refused.

    Raises:
        BadParameter: it is empty; `Path` would take it for the current folder.
    """
    if not text.strip():
        raise typer.BadParameter("expected a path, got an empty text.")
    return Path(text)


def parse_interval(text: str) -> float | str:
    """The value of `--interval`, as it is written into the configuration: seconds, or text such as `5m`."""
    from syftnotify.config.values import MAX_INTERVAL, MIN_INTERVAL, parse_seconds, redacted_repr

    value = _number_or_text(text)
    try:
        parse_seconds(value, MIN_INTERVAL, MAX_INTERVAL)
    except ValueError:
        expected = f"{MIN_INTERVAL} to {MAX_INTERVAL} seconds (30, 30s or 5m)"
        raise typer.BadParameter(f"expected {expected}, got {redacted_repr(text)}.") from None
    return value


def parse_mail_type(text: str) -> str:
    """The value of `--transport`."""
    from syftnotify.services.setup.mail import MAIL_TYPES

    if text not in MAIL_TYPES:
        raise typer.BadParameter(f"expected {', '.join(MAIL_TYPES)}, got {text!r}.")
    return text


def _parse_timeout(text: str | float) -> float:
    if isinstance(text, float):  # the default
        return text
    from syftnotify.config.values import parse_seconds, redacted_repr

    try:
        return parse_seconds(_number_or_text(text), 0, 86400)
    except ValueError:
        raise typer.BadParameter(f"expected 0 to 86400 seconds (30, 30s or 5m), got {redacted_repr(text)}.") from None


def _number_or_text(text: str | float) -> float | str:
    try:
        return float(text)
    except ValueError:
        return str(text)


HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", parser=parse_path, metavar="PATH", help="Home folder; default: SYFTNOTIFY_HOME, or ~/.syft-creds."
    ),
]
TimeoutOption = Annotated[
    float,
    typer.Option(
        parser=_parse_timeout, metavar="DURATION", help="Time to finish sends in progress; then the worker is killed."
    ),
]
SinceOption = Annotated[str | None, typer.Option(help="Only of events since: 2h, 3d, 2026-01-15.")]
UtcOption = Annotated[bool, typer.Option("--utc", help="Show times in UTC instead of this machine's timezone.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
JsonListOption = Annotated[bool, typer.Option("--json", help="Print a JSON list.")]


def resolve_home(context: typer.Context, home: Path | None) -> "Home":
    """The home of a command: its own `--home`, the common one, or the default.

    With `--as-owner`, this process drops root's privileges and continues as the owner of the home.

    Raises:
        UnsafeHomeError: the caller is root and the home belongs to another user.
    """
    from syftnotify.cli.console import repeat_home
    from syftnotify.system import ownership
    from syftnotify.system.paths import Home

    common_home, as_owner = context.find_root().obj
    resolved = Home.at(home or common_home)
    repeat_home(resolved.root if home or common_home else None)
    if as_owner:
        ownership.drop_privileges(resolved)
    ownership.refuse_root(resolved)
    return resolved
