"""Writing the configuration of a setup."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from syftnotify.config.edit import Edits, apply_edits, write_config
from syftnotify.config.load import Settings
from syftnotify.config.secrets import encrypt
from syftnotify.config.yaml_reader import read_config_file
from syftnotify.core.errors import ConfigError
from syftnotify.core.identifiers import is_address
from syftnotify.services.settings import parse
from syftnotify.services.setup.mail import MAIL_TYPES, MailSetup
from syftnotify.services.setup.plan import SetupPlan
from syftnotify.system.files import atomic_write
from syftnotify.system.paths import Home


@dataclass(frozen=True, slots=True)
class SetupResult:
    """The configuration after a setup."""

    settings: Settings
    is_changed: bool
    mail: MailSetup | None  # the default mail transport, if it was changed
    warnings: tuple[str, ...]


def previous_config(home: Home) -> Path:
    """The copy of a configuration that a setup replaced, or of which it removed settings."""
    return home.config.with_name("config.yaml.old")


def write_setup(plan: SetupPlan) -> SetupResult:
    """Check the new configuration as a worker would, then write it.

    Raises:
        ConfigError: it would have mistakes; nothing was written.
    """
    home, mail = plan.home, plan.mail
    before = home.config.read_bytes() if home.config.exists() else None
    changes: Edits = plan.changes
    if mail is not None and mail.password_url is not None:
        # The key is written before the check, which decrypts the secret; an unused key does no harm.
        changes = {**changes, ("secrets", mail.secret): encrypt(mail.password_url, home)}
    content = apply_edits(home, changes, fresh=plan.is_new) if changes else read_config_file(home.config)
    settings = _parse(content, home, is_edit=bool(changes) and before is not None)
    is_mail_changed = mail is not None and bool(mail.changes)
    if mail is not None and is_mail_changed and settings.default_mail_transport != mail.name:
        raise ConfigError(
            f"mail would still go out through transport `{settings.default_mail_transport}`; nothing was changed",
            hint=f"remove it from `transports:` in {home.config}, or use `transport:` in a route",
        )
    if changes:
        if before is not None and (plan.is_new or (mail is not None and mail.removed)):
            atomic_write(previous_config(home), before)
        write_config(home, content)
    warning = _contact_warning(settings, plan.alert_contact)
    warnings = (*settings.warnings, warning) if warning else settings.warnings
    return SetupResult(settings, bool(changes), mail if is_mail_changed else None, warnings)


def _parse(content: bytes, home: Home, *, is_edit: bool) -> Settings:
    """The new configuration. Raises: ConfigError, which for an edit adds that nothing was changed."""
    try:
        return parse(content, home)
    except ConfigError as error:
        if not is_edit:
            raise
        raise ConfigError(f"{error}\nnothing was changed", hint=error.hint) from None


def _contact_warning(settings: Settings, contact: str) -> str:
    """The warning that an address cannot be alerted, as only a second mail transport can report a failed one."""
    mail = [name for name, section in settings.config.transports.items() if section.type in MAIL_TYPES]
    if not is_address(contact) or len(mail) > 1:
        return ""
    return (
        f"{contact} is alerted by mail, through another mail transport than the failed one, and there is only "
        f"`{settings.default_mail_transport}`. To be alerted when it fails, pass a ping URL "
        "(`notify init --alert-contact https://...`) or add a second mail transport to `transports:`"
    )
