"""The `notify` command: its subcommands, their common options, and the handling of errors."""

import os
import sys
from typing import Annotated

import typer

from syftnotify import __version__
from syftnotify.cli.alerts import alerts_app
from syftnotify.cli.console import flush_output, print_error, print_line, use_safe_streams
from syftnotify.cli.db import db_app
from syftnotify.cli.dead_letters import dead_letters, resend
from syftnotify.cli.demo import demo
from syftnotify.cli.doctor import doctor
from syftnotify.cli.emit import emit
from syftnotify.cli.help import INTEGRATIONS, NOTIFICATIONS, SET_UP, WORKER, GroupedCommands
from syftnotify.cli.history import history, prune, why
from syftnotify.cli.init import init
from syftnotify.cli.install import install, uninstall
from syftnotify.cli.logs import logs
from syftnotify.cli.options import HomeOption
from syftnotify.cli.preview import preview
from syftnotify.cli.run import run
from syftnotify.cli.secret import secret_app
from syftnotify.cli.serve import serve
from syftnotify.cli.silence import silence_app
from syftnotify.cli.status import print_state, status
from syftnotify.cli.test_send import send_test_message
from syftnotify.cli.token import token_app
from syftnotify.cli.worker import ensure, restart, start, stop
from syftnotify.core.errors import NotifyError

_CHECK_STREAMS = "check where the output goes, and the free space there and in the home folder"
_CHECK_FILES = "check the permissions and free space of the home folder, or choose another `--home`"
_COMMANDS = {
    SET_UP: (init, doctor, preview, demo),
    WORKER: (start, status, logs, stop, restart, run, ensure, install, uninstall),
    NOTIFICATIONS: (history, why, dead_letters, resend, prune),
    INTEGRATIONS: (emit, serve),
}

app = typer.Typer(
    name="notify",
    cls=GroupedCommands,
    help="Notify SyftBox data owners and scientists about jobs and peers.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(requested: bool) -> None:
    if requested:
        print_line(f"syftnotify {__version__}")
        raise typer.Exit


@app.callback()
def global_options(
    context: typer.Context,
    home: HomeOption = None,
    as_owner: Annotated[
        bool, typer.Option("--as-owner", help="As root: drop root's privileges and run as the owner of the home.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Store the common options for `resolve_home`."""
    context.obj = home, as_owner
    if context.invoked_subcommand is None:
        print_state(context)


for _group, _commands in _COMMANDS.items():
    for _command in _commands:
        app.command(rich_help_panel=_group)(_command)
app.command("dead", hidden=True)(dead_letters)
app.command("test", rich_help_panel=SET_UP)(send_test_message)
app.add_typer(secret_app, rich_help_panel=SET_UP)
app.add_typer(db_app, rich_help_panel=SET_UP)
app.add_typer(alerts_app, rich_help_panel=NOTIFICATIONS)
app.add_typer(silence_app, rich_help_panel=NOTIFICATIONS)
app.add_typer(token_app, rich_help_panel=INTEGRATIONS)


def main() -> None:
    """Run the `notify` command: the console script."""
    os.umask(0o077)  # new files are readable by their owner only
    use_safe_streams()
    try:
        try:
            app()
        finally:
            flush_output()
    except BrokenPipeError:  # the reader, such as `head`, has all it wanted
        sys.exit(1)
    except NotifyError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except UnicodeEncodeError as error:  # the output streams escape what they cannot encode, so it is an argument
        print_error(NotifyError(f"the argument {error.object[:60]!r} is not valid UTF-8", hint="pass it as UTF-8 text"))
        sys.exit(2)
    except OSError as error:  # an unreadable home folder, a full disk: a condition of the machine
        where, hint = (error.filename, _CHECK_FILES) if error.filename else ("input or output", _CHECK_STREAMS)
        print_error(NotifyError(f"{where}: {error.strerror or error}", hint=hint))
        sys.exit(1)
    except RuntimeError as error:  # `--install-completion` looks for the shell's files in the home directory
        if "home directory" not in str(error):
            raise
        print_error(NotifyError("there is no home directory", hint="set HOME"))
        sys.exit(2)
