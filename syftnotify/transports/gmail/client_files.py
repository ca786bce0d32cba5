"""Files that Google's console gives: the client secrets that are needed, and those that are taken for them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from syftnotify.config.values import is_safe_url
from syftnotify.core.errors import NotSignedInError
from syftnotify.core.text import decode, escape
from syftnotify.system.files import read_regular_file

_CLIENT_NEEDED = (
    "create an OAuth client of type 'Desktop app' in Google's console, download its JSON file, and run "
    "`notify init --credentials FILE`"
)
LARGEST = 1 << 20  # bytes of a file from Google
_SAVED_SIGN_IN = "a saved sign-in (a token)"
_API_KEY = re.compile(r"AIza[\w-]{30,}")  # how Google's API keys begin
_KINDS = {"service_account": "a service account key", "authorized_user": _SAVED_SIGN_IN}


def client_secrets(path: Path) -> dict[str, Any]:
    """The client secrets of a desktop app in the form that Google's library takes.

    Raises:
        NotSignedInError: the file is missing, or is something else; the message says what.
    """
    try:
        text = decode(read_regular_file(path, LARGEST))
    except FileNotFoundError:
        raise NotSignedInError(f"there is no {path}", hint=_CLIENT_NEEDED) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NotSignedInError(f"{path} cannot be read: {why}", hint=_CLIENT_NEEDED) from None
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        loaded = text.strip()
    client = loaded.get("installed") if isinstance(loaded, dict) else None
    if not isinstance(client, dict):
        kind = kind_of(loaded) or "no JSON of Google's console"
        raise NotSignedInError(f"{path} is {kind}, not an OAuth client of type 'Desktop app'", hint=_CLIENT_NEEDED)
    for key in ("client_id", "client_secret"):
        if not isinstance(client.get(key), str) or not client[key]:
            raise NotSignedInError(f"{path}: {key} is missing", hint=_CLIENT_NEEDED)
    for key in ("auth_uri", "token_uri"):
        if not is_safe_url(str(client.get(key, ""))):
            raise NotSignedInError(
                f"{path}: {key} must be an https address (http only on this machine)", hint=_CLIENT_NEEDED
            )
    return {"installed": client}


def kind_of(loaded: Any) -> str:
    """Which of Google's files this is, as its console calls it; empty when that is not known."""
    if isinstance(loaded, str):
        return "an API key" if _API_KEY.fullmatch(loaded) else ""
    if not isinstance(loaded, dict):
        return ""
    given = loaded.get("type")
    if isinstance(given, str) and given:
        return _KINDS.get(given, f"a credentials file of type '{escape(given, limit=40)}'")
    if "installed" in loaded:
        return "an OAuth client of type 'Desktop app'"
    if "web" in loaded:
        return "an OAuth client of type 'Web application'"
    if not loaded.keys().isdisjoint({"refresh_token", "access_token", "token"}):
        return _SAVED_SIGN_IN
    if any(isinstance(value, str) and _API_KEY.fullmatch(value) for value in loaded.values()):
        return "an API key"
    return ""
