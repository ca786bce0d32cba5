"""Secrets of `config.yaml`: references to the environment and to files, and encrypted values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.text import decode, did_you_mean, escape
from syftnotify.system.files import atomic_write
from syftnotify.system.paths import Home, expand_path

_MAX_SECRET_BYTES = 64 * 1024
_REFERENCES = {
    "env": "`env:NAME` for an environment variable",
    "file": "`file:PATH` for a file with the secret",
    "secret": "`secret:NAME` for a secret stored by `notify secret set NAME`",
}
_SECTIONS = ("transports", "heartbeat", "database")  # in which references are replaced
_QUOTED = re.compile(r"""^(["'])(.*)\1$""")
# Parts of the names of headers and URL parameters whose values are secrets.
_SECRET_NAMES = ("authorization", "cookie", "token", "key", "secret", "password", "signature", "x-auth")


@dataclass(slots=True)
class ResolvedConfig:
    """A configuration in which the references to secrets are replaced by their values."""

    raw: dict[str, Any]
    errors: dict[str, str]  # why a reference has no value, by its path
    values: dict[str, str]  # of the replaced references, by their paths as in error messages; they must not be shown
    files: set[Path]  # from which secrets were read


def resolve_references(raw: dict[str, Any], home: Home) -> ResolvedConfig:
    """Replace every `env:`, `file:` and `secret:` reference in `transports`, `heartbeat` and `database`."""
    encrypted = raw.get("secrets")
    resolver = _Resolver(home, encrypted if isinstance(encrypted, dict) else {})
    found = {key: resolver.resolve(value, key) if key in _SECTIONS else value for key, value in raw.items()}
    return ResolvedConfig(found, resolver.errors, resolver.values, resolver.files)


def references_to_stored(raw: Mapping[str, Any]) -> dict[str, str]:
    """The name of the stored secret to which each setting refers, by its path: `transports.office.smtp_url`."""
    return dict(found for key in _SECTIONS for found in _stored_in(raw.get(key), key))


def _stored_in(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _stored_in(inner, f"{path}.{key}")
    elif _is_reference(value) and value.startswith("secret:"):
        yield path, value.removeprefix("secret:")


class _Resolver:
    """Replaces references, and collects the errors and the files that were read."""

    def __init__(self, home: Home, encrypted: Mapping[str, Any]) -> None:
        self._home = home
        self._encrypted = encrypted
        self.errors: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.files: set[Path] = set()

    def resolve(self, value: Any, path: str) -> Any:
        """`value` with all references in it replaced; a reference without a value is kept, and its error recorded."""
        if isinstance(value, dict):
            return {key: self.resolve(inner, f"{path}.{key}") for key, inner in value.items()}
        if not _is_reference(value):
            return value
        try:
            secret = self._referenced(*value.split(":", 1))
        except ValueError as error:
            self.errors[escape(path)] = str(error)
            return value
        self.values[escape(path)] = secret
        return secret

    def _referenced(self, kind: str, name: str) -> str:
        """The value of the reference `kind:name`. Raises ValueError, with the reason, if it has none."""
        if not name.strip():
            raise ValueError(f"`{kind}:` has no name; write {_REFERENCES[kind]}")
        if kind == "env":
            return self._from_environment(name)
        if kind == "file":
            return self._from_file(name)
        encrypted = self._encrypted.get(name)
        if not isinstance(encrypted, str):
            guess = did_you_mean(name, self._encrypted)
            raise ValueError(f"there is no secret {name}{guess or f'; run `notify secret set {name}`'}")
        return decrypt(encrypted, self._home)

    def _from_environment(self, name: str) -> str:
        value, file = os.environ.get(name), self._home.environment
        if not value and file.exists():  # systemd sets these variables for the worker, but not for commands
            value = _parse_environment_file(_read_text(file)).get(name)
        if not value:
            raise ValueError(
                f"the environment variable {name} is not set; set it where you run `notify start`, or in {file} "
                f"({name}=...)"
            )
        return value

    def _from_file(self, name: str) -> str:
        try:
            path = expand_path(name, self._home.root)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        text = _read_text(path).strip()
        self.files.add(path)
        if not text:
            raise ValueError(f"{path} is empty; write the secret into it")
        return text


def _read_text(path: Path) -> str:
    """The text of a file with secrets; a pipe is read as well.

    Raises:
        ValueError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_SECRET_BYTES:
        raise ValueError(f"{path} is larger than {_MAX_SECRET_BYTES} bytes; name a file with the secret only")
    try:
        return decode(content)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _parse_environment_file(text: str) -> dict[str, str]:
    """The values of the lines `NAME=value`, which may be quoted; the last one of a name counts.

    Source: systemd.exec(5), `EnvironmentFile=`, without continuation lines and backslashes.
    """
    pairs = (line.partition("=") for line in text.split("\n") if not line.lstrip().startswith(("#", ";")))
    return {name.strip(): _QUOTED.sub(r"\2", value.strip()) for name, equals, value in pairs if equals}


def _is_reference(value: Any) -> bool:
    kind, colon, _ = value.partition(":") if isinstance(value, str) else ("", "", "")
    return bool(colon) and kind in _REFERENCES


def is_secret_name(name: str) -> bool:
    """Whether a header or a parameter of this name usually carries a secret."""
    return any(part in name.lower() for part in _SECRET_NAMES)


def is_plain_text(value: Any) -> bool:
    """Whether a value in `config.yaml` is text, and not a reference to a secret."""
    return isinstance(value, str) and not _is_reference(value)


def encrypt(value: str, home: Home) -> str:
    """`value` encrypted for `config.yaml`; only the key file of `home` decrypts it.

    A key file that is missing or holds no valid key is replaced: values encrypted with it are already lost.

    Raises:
        NotifyError: the key file cannot be read or written.
    """
    from cryptography.fernet import Fernet

    key = key_file(home)
    try:
        home.create()
        if not key.exists() or not _is_key(key.read_bytes()):
            atomic_write(key, Fernet.generate_key())
        return Fernet(key.read_bytes().strip()).encrypt(value.encode("utf-8")).decode("ascii")
    except OSError as error:
        raise NotifyError(f"the key file {key} cannot be used: {error.strerror}", hint="move it away") from error


def decrypt(encrypted: str, home: Home) -> str:
    """The value that was encrypted.

    Raises:
        ValueError: the key file cannot be read, or another key was used.
    """
    from cryptography.fernet import Fernet, InvalidToken

    key = key_file(home)
    try:
        return Fernet(key.read_bytes().strip()).decrypt(encrypted.encode("utf-8")).decode("utf-8")
    except OSError as error:
        raise ValueError(f"the key file {key} cannot be read: {error.strerror}; set the secret again") from None
    except (InvalidToken, ValueError):
        raise ValueError(
            f"the key file {key} does not decrypt it; set it again with `notify secret set NAME`"
        ) from None


def key_file(home: Home) -> Path:
    """The file with the key of the encrypted secrets of `home`."""
    return home.root / "secret.key"


def _is_key(content: bytes) -> bool:
    from cryptography.fernet import Fernet

    try:
        Fernet(content.strip())
    except ValueError:
        return False
    return True
