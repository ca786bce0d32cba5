"""`notify db`: the PostgreSQL database that several workers share."""

from typing import TYPE_CHECKING

import typer

from syftnotify.cli.console import print_json, print_labeled, print_line, print_rows, print_warning, show_progress
from syftnotify.cli.options import HomeOption, JsonOption, resolve_home

if TYPE_CHECKING:
    from syftnotify.core.cluster import WorkerRecord

db_app = typer.Typer(name="db", help="Manage the PostgreSQL database that several workers share.", no_args_is_help=True)


@db_app.command("status")
def db_status(context: typer.Context, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show the database and the workers that use it."""
    import time
    from dataclasses import asdict

    from syftnotify.core.cluster import without_leader
    from syftnotify.core.text import escape, plural
    from syftnotify.runtime.database import database_status

    found = database_status(resolve_home(context, home))
    facts = found.facts
    if as_json:
        print_json({**asdict(facts), "workers": [asdict(worker) for worker in found.workers]})
        return
    kind = " (read-only standby)" if facts.is_standby else ""
    pooled = ", through a pooler" if facts.is_pooled else ""
    rows = {
        "database": escape(facts.name),
        "server": f"PostgreSQL {escape(facts.server_version)}{kind}{pooled}",
        "tables": _tables(facts.schema_version, facts.needed_version),
        "size": f"{facts.size / 1e6:,.0f} MB",
        "connections": f"{facts.connections} of {facts.max_connections}",
        "workers": plural(len(found.workers), "process", "processes"),
    }
    for label, value in rows.items():
        print_labeled(label, value, "bold", width=max(map(len, rows)))
    if found.workers:
        now = time.time() - facts.clock_difference  # on the clock of the server
        header = ("ID", "MODE", "HOST", "PID", "OWNER", "SEEN", "SCANS")
        print_rows([_worker_row(worker, now) for worker in found.workers], header=header, flexible=(2, 4))
    for scope in without_leader(found.workers):
        print_warning(f"no worker scans the tree of {escape(scope)}; one that stands by takes over soon")


def _tables(version: int, needed: int) -> str:
    if not version:
        return "none; run `notify db migrate`"
    if version < needed:
        return f"version {version}; run `notify db migrate` for version {needed}"
    return f"version {version}"


def _worker_row(worker: "WorkerRecord", now: float) -> tuple[str, ...]:
    from syftnotify.core.text import escape

    scans = "yes" if worker.is_leader else ""
    seen = f"{max(0.0, now - worker.renewed_at):.0f} s ago"
    return str(worker.id), worker.mode, escape(worker.host), str(worker.pid), escape(worker.scope), seen, scans


@db_app.command("migrate")
def db_migrate(context: typer.Context, home: HomeOption = None) -> None:
    """Create or upgrade the tables. Workers may run meanwhile."""
    from syftnotify.runtime.database import migrate_database

    before = migrate_database(resolve_home(context, home))
    if before.schema_version >= before.needed_version:
        print_line(f"the tables have version {before.schema_version} already; nothing was changed")
    elif before.schema_version:
        print_line(f"the tables are upgraded from version {before.schema_version} to {before.needed_version}")
    else:
        print_line(f"the tables are created, version {before.needed_version}")


@db_app.command("copy")
def db_copy(context: typer.Context, home: HomeOption = None) -> None:
    """Copy outbox.db into the database, and compare both. Tables are created if there are none.

    No worker or server of this home may run, on any machine. A copy that was interrupted continues; they cannot start
    before it is complete.
    """
    from syftnotify.core.text import plural
    from syftnotify.runtime.database import copy_outbox

    with show_progress("copying") as update:
        tables = copy_outbox(
            resolve_home(context, home), lambda table, copied, total: update(f"{table}: {copied:,} of {total:,} rows")
        )
    if not tables:
        print_line("this file was copied and compared before; run `notify start`")
        return
    rows = [(each.name, f"{each.rows:,}", each.checksum) for each in tables if each.rows]
    if rows:
        print_rows(rows, header=("TABLE", "ROWS", "CHECKSUM"), flexible=(0,))
    if damaged := sum(each.damaged for each in tables):
        print_line(f"{plural(damaged, 'damaged row')} of the file could not be copied; the reasons are above")
    print_line("copied; what was copied has the same rows and checksums in both. Run `notify start`")
