"""The help of `notify`: commands in groups."""

from typing import Any

import typer
from typer.core import TyperGroup

SET_UP, WORKER, NOTIFICATIONS, INTEGRATIONS = "Set up", "Worker", "Notifications", "Integrations"
_GROUPS = (SET_UP, WORKER, NOTIFICATIONS, INTEGRATIONS)


class GroupedCommands(TyperGroup):
    """Lists the commands by their help panel. Typer itself does so only in the boxes that it draws with rich."""

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override] # noqa: ARG002 - its types are private
        found: dict[str, list[tuple[str, Any]]] = {group: [] for group in _GROUPS}
        for name, command in self.commands.items():
            if not command.hidden:
                found[str(vars(command)["rich_help_panel"])].append((name, command))
        width = max(len(name) for name in self.commands)
        limit = formatter.width - width - 4  # indent and gap
        for title, commands in found.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), each.get_short_help_str(limit)) for name, each in commands])
