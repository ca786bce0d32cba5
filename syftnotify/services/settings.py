"""Loading the configuration with the registered transports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from syftnotify.config import load as configuration
from syftnotify.config.load import Settings
from syftnotify.config.yaml_reader import parse_yaml, read_config_file
from syftnotify.core.errors import ConfigError, NotSignedInError
from syftnotify.system.paths import Home
from syftnotify.transports.registry import TRANSPORT_TYPES


def load(home: Home) -> Settings:
    """The configuration of `home`. The templates in it are not checked, which takes long.

    Raises:
        ConfigError, UnsafeHomeError, NotifyError: as `config.load.load`.
    """
    return configuration.load(home, TRANSPORT_TYPES)


def shared_database(home: Home) -> Settings | None:
    """The configuration of `home` if it names a database; None if the outbox is a file.

    A file is used even if the configuration is wrong or missing.

    Raises:
        ConfigError, UnsafeHomeError, NotifyError: as `config.load.load`; only if a database is named.
    """
    try:
        names_database = b"database" in read_config_file(home.config)
        if not names_database or parse_yaml(read_config_file(home.config))[0].get("database") is None:
            return None
    except ConfigError:
        return None
    return load(home)


def load_reporting_all(home: Home) -> Settings:
    """Like `load`, but if there are mistakes, the error lists those in templates as well.

    Mistakes in templates alone are not an error.
    """
    try:
        return load(home)
    except ConfigError:
        configuration.load(home, TRANSPORT_TYPES, check_templates=True)
        raise


def parse(content: bytes, home: Home) -> Settings:
    """The configuration that `content` would be as the `config.yaml` of `home`, templates included.

    Raises:
        ConfigError: it has mistakes.
    """
    return configuration.parse(content, home, TRANSPORT_TYPES, check_templates=True)


def check_ready(home: Home) -> Settings:
    """The configuration of `home`, checked completely: a worker can run with it.

    Raises:
        ConfigError: it has mistakes.
        NotSignedInError: mail needs a sign-in, and there is none.
    """
    settings = configuration.load(home, TRANSPORT_TYPES, check_templates=True)
    settings = replace(settings, warnings=(*settings.warnings, *_template_warnings(settings)))
    mail = settings.mail_settings
    if not settings.config.notify.enabled or mail is None:
        return settings
    if mail.sign_in is not None and not mail.sign_in.exists():
        raise NotSignedInError(mail.sign_in.missing, hint="sign in with `notify init`")
    return settings


def _template_warnings(settings: Settings) -> Iterator[str]:
    for name, section in settings.config.transports.items():
        if warning := section.template_warning():
            yield f"config.yaml: transports.{name}.{': '.join(warning)}"
