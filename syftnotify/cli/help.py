"""The help of `notify`: commands in groups, and the state for `notify` alone."""

from typing import Any

import typer
from typer.core import TyperGroup

NEW_HOME, WORKER, MESSAGES, INTERFACES = "Set up", "Worker", "Notifications", "Programs and people"
_GROUPS = (NEW_HOME, WORKER, MESSAGES, INTERFACES)


class GroupedCommands(TyperGroup):
    """Lists the commands by their help panel. Typer itself does so only in the boxes that it draws with rich."""

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override] # its types are private
        del ctx  # the commands of this group are all there
        found: dict[str, list[tuple[str, Any]]] = {group: [] for group in _GROUPS}
        for name, command in self.commands.items():
            if not command.hidden:
                found[str(vars(command)["rich_help_panel"])].append((name, command))
        width = max(len(name) for name in self.commands)
        limit = formatter.width - width - 4  # indent and gap
        for title, commands in found.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), each.get_short_help_str(limit)) for name, each in commands])


def print_state(context: typer.Context) -> None:
    """What `notify` alone prints: whether the worker runs, and the command that a user needs next."""
    from syftnotify.cli.console import print_line
    from syftnotify.cli.options import resolve_home
    from syftnotify.cli.status import next_command, state_label
    from syftnotify.services.status import read_status

    status = read_status(resolve_home(context, None))
    print_line(f"worker: {state_label(status)}")
    for problem in status.health_problems:
        print_line(f"problem: {problem}")
    print_line(f"next:   {next_command(status)}")
    print_line("all commands: notify --help")
