"""Secrets that are stored encrypted in the configuration."""

from __future__ import annotations

from syftnotify.config.edit import edit
from syftnotify.config.secrets import encrypt
from syftnotify.core.errors import NotifyError
from syftnotify.services.arguments import UsageError
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home


def check_can_store(home: Home, name: str) -> None:
    """Check that a secret can be stored under `name`, before the user enters it.

    Raises:
        UsageError: `name` is empty.
        NotifyError: there is no configuration, or the home is not safe.
    """
    if not name.strip():
        raise UsageError("the name of the secret is empty", hint="run `notify secret set NAME`")
    check_home(home)
    if not home.config.exists():
        raise NotifyError(f"there is no configuration at {home.config}", hint="run `notify init`")


def store_secret(home: Home, name: str, value: str) -> None:
    """Encrypt `value` and store it in the configuration, for references `secret:NAME`.

    Raises:
        NotifyError: name or value is empty, or the configuration or the key cannot be used.
    """
    check_can_store(home, name)
    if not value:
        raise NotifyError("the secret is empty; nothing was stored", hint="enter it, or pipe it to standard input")
    edit(home, {("secrets", name): encrypt(value, home)})
