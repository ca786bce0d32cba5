"""Where may a secret of `config.yaml` lie? In the environment, in a file, or encrypted in `config.yaml` itself."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.text import decoded
from syftnotify.system.files import atomic_write
from syftnotify.system.paths import Home, expanded

_LARGEST = 64 * 1024  # bytes of a file that holds one secret
_FORMS = {
    "env": "`env:NAME` for a variable of the environment",
    "file": "`file:PATH` for a file with the secret",
    "secret": "`secret:NAME` for one that `notify secret set NAME` keeps",
}
_QUOTED = re.compile(r"""^(["'])(.*)\1$""")
# Parts of the names of headers and of parameters whose values are secrets.
_TELLING = ("authorization", "cookie", "token", "key", "secret", "password", "signature", "x-auth")


@dataclass(slots=True)
class Resolved:
    """A configuration with every reference to a secret replaced by what it means."""

    raw: dict[str, Any]
    mistakes: dict[str, str]  # by path: what could not be found
    paths: set[str]  # where something was put in: what stands there must not be shown
    files: set[Path]  # that secrets were read from


def resolved(raw: dict[str, Any], home: Home) -> Resolved:
    """`raw` without any `env:`, `file:` and `secret:` in its transports and its heartbeat."""
    sealed = raw.get("secrets")
    finder = _Finder(home, sealed if isinstance(sealed, dict) else {})
    found = {
        key: finder.walk(value, key) if key in {"transports", "heartbeat"} else value for key, value in raw.items()
    }
    return Resolved(found, finder.mistakes, finder.paths, finder.files)


class _Finder:
    def __init__(self, home: Home, sealed: Mapping[str, Any]) -> None:
        self._home = home
        self._sealed = sealed
        self.mistakes: dict[str, str] = {}
        self.paths: set[str] = set()
        self.files: set[Path] = set()

    def walk(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: self.walk(inner, f"{path}.{key}") for key, inner in value.items()}
        if not _is_reference(value):
            return value
        try:
            secret = self._value(*value.split(":", 1))
        except ValueError as error:
            self.mistakes[path] = str(error)
            return value
        self.paths.add(path)
        return secret

    def _value(self, kind: str, name: str) -> str:
        if not name.strip():
            raise ValueError(f"`{kind}:` names nothing; write {_FORMS[kind]}")
        if kind == "env":
            return self._variable(name)
        if kind == "file":
            return self._content(name)
        word = self._sealed.get(name)
        if not isinstance(word, str):
            raise ValueError(f"there is no secret {name}; `notify secret set {name}` keeps one")
        return opened(word, self._home)

    def _variable(self, name: str) -> str:
        value, file = os.environ.get(name), self._home.environment
        if not value and file.exists():  # a command has not what systemd gives the worker
            value = _assigned(self._text(str(file))).get(name)
        if not value:
            raise ValueError(
                f"the environment has no {name}; set it where `notify start` is typed, or in {file} ({name}=...)"
            )
        return value

    def _content(self, name: str) -> str:
        text = self._text(name).strip()
        self.files.add(expanded(name, self._home.root))
        if not text:
            raise ValueError(f"{expanded(name, self._home.root)} is empty")
        return text

    def _text(self, name: str) -> str:
        try:
            path = expanded(name, self._home.root)
            with path.open("rb") as file:
                content = file.read(_LARGEST)
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
        except ConfigError as error:
            raise ValueError(str(error)) from None
        try:
            return decoded(content)
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {error}") from None


def _assigned(text: str) -> dict[str, str]:
    """What the lines `NAME=value` of an environment file say, the last of a name; the value may stand in quotes.

    Source: systemd.exec(5), `EnvironmentFile=`, without its continued lines and backslashes.
    """
    pairs = (line.partition("=") for line in text.split("\n") if not line.lstrip().startswith(("#", ";")))
    return {name.strip(): _QUOTED.sub(r"\2", value.strip()) for name, equals, value in pairs if equals}


def _is_reference(value: Any) -> bool:
    kind, colon, _ = value.partition(":") if isinstance(value, str) else ("", "", "")
    return bool(colon) and kind in {"env", "file", "secret"}


def names_secret(name: str) -> bool:
    """Whether a header or a parameter of this name usually carries a secret."""
    return any(part in name.lower() for part in _TELLING)


def is_plain(value: Any) -> bool:
    """Whether a value in `config.yaml` is text, and not a reference to a secret."""
    return isinstance(value, str) and not _is_reference(value)


def sealed(value: str, home: Home) -> str:
    """`value` as it can stand in `config.yaml`: readable only with the key file of this home.

    The key is made when it is missing, or cannot be one: then what it kept is lost already.

    Raises:
        NotifyError: there can be no key.
    """
    from cryptography.fernet import Fernet

    key = key_file(home)
    try:
        home.create()
        if not key.exists() or not _is_key(key.read_bytes()):
            atomic_write(key, Fernet.generate_key())
        return Fernet(key.read_bytes().strip()).encrypt(value.encode("utf-8")).decode("ascii")
    except OSError as error:
        raise NotifyError(f"the key {key} cannot be used: {error.strerror}", hint="move it away") from error


def _is_key(content: bytes) -> bool:
    from cryptography.fernet import Fernet

    try:
        Fernet(content.strip())
    except ValueError:
        return False
    return True


def opened(word: str, home: Home) -> str:
    """What `sealed` was given. Raises: ValueError, when the key is gone or another one."""
    from cryptography.fernet import Fernet, InvalidToken

    key = key_file(home)
    try:
        return Fernet(key.read_bytes().strip()).decrypt(word.encode("utf-8")).decode("utf-8")
    except OSError as error:
        raise ValueError(f"the key {key} cannot be read: {error.strerror}; set the secret anew") from None
    except (InvalidToken, ValueError):
        raise ValueError(f"the key {key} does not open it; `notify secret set` keeps it anew") from None


def key_file(home: Home) -> Path:
    """What opens the secrets of a home."""
    return home.root / "secret.key"
