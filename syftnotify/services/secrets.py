"""Secrets that are stored encrypted in the configuration."""

from __future__ import annotations

from syftnotify.config.edit import edit
from syftnotify.config.secrets import encrypt, references_to_stored
from syftnotify.config.yaml_reader import parse_yaml, read_config_file
from syftnotify.core.errors import ConflictError, NotFoundError, NotifyError
from syftnotify.core.text import escape
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


def list_secrets(home: Home) -> dict[str, list[str]]:
    """The names of stored secrets, each with the settings that refer to it: `transports.office.smtp_url`.

    Raises:
        ConfigError: the configuration cannot be read.
    """
    raw, _ = parse_yaml(read_config_file(home.config))
    references = references_to_stored(raw)
    stored = raw.get("secrets")
    return {
        str(name): [path for path, used in references.items() if used == name]
        for name in (stored if isinstance(stored, dict) else {})
    }


def remove_secret(home: Home, name: str) -> None:
    """Remove a stored secret.

    Raises:
        NotFoundError: there is none with this name.
        ConflictError: a setting refers to it.
        ConfigError: the configuration cannot be read.
    """
    check_home(home)
    found = list_secrets(home)
    if name not in found:
        raise NotFoundError(f"there is no secret {escape(name)!r}", hint="run `notify secret list` for the names")
    if found[name]:
        raise ConflictError(
            f"config.yaml refers to the secret {escape(name)!r}: {escape(', '.join(found[name]))}",
            hint="change these settings first",
        )
    edit(home, {("secrets", name): None})


def store_secret(home: Home, name: str, value: str) -> None:
    """Encrypt `value` and store it in the configuration, for references `secret:NAME`.

    Raises:
        NotifyError: name or value is empty, or the configuration or the key cannot be used.
    """
    check_can_store(home, name)
    if not value:
        raise NotifyError("the secret is empty; nothing was stored", hint="enter it, or pipe it to standard input")
    edit(home, {("secrets", name): encrypt(value, home)})
