"""Notifications about jobs and peers for SyftBox data owners.

Python API: `GmailAuth`, `GmailSender`, `TemplateRenderer`, `JsonStateManager`, `JobMonitor`, `PeerMonitor` and `emit`.
They are imported on first access, so that `import syftnotify` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syftnotify.monitors import JobMonitor, PeerMonitor
    from syftnotify.rendering.templates import TemplateRenderer
    from syftnotify.sender import GmailSender
    from syftnotify.sources.spool import emit
    from syftnotify.store.ledger.manager import JsonStateManager
    from syftnotify.transports.gmail.auth import GmailAuth

__version__ = "0.1.0"

__all__ = [
    "GmailAuth",
    "GmailSender",
    "JobMonitor",
    "JsonStateManager",
    "PeerMonitor",
    "TemplateRenderer",
    "__version__",
    "emit",
]

_MODULES = {
    "GmailAuth": "syftnotify.transports.gmail.auth",
    "GmailSender": "syftnotify.sender",
    "JobMonitor": "syftnotify.monitors",
    "JsonStateManager": "syftnotify.store.ledger.manager",
    "PeerMonitor": "syftnotify.monitors",
    "TemplateRenderer": "syftnotify.rendering.templates",
    "emit": "syftnotify.sources.spool",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
