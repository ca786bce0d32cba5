"""Client secrets from Google's console, and recognition of other files that users give instead."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from syftnotify.config.urls import is_safe_url
from syftnotify.core.errors import NotSignedInError
from syftnotify.core.text import decode, escape
from syftnotify.system.files import read_regular_file

_HINT = (
    "create an OAuth client of type 'Desktop app' in Google's console, download its JSON file, and run "
    "`notify init --credentials FILE`"
)
MAX_FILE_BYTES = 1 << 20  # of a file from Google
_SAVED_SIGN_IN = "a saved sign-in (a token)"
_API_KEY = re.compile(r"AIza[\w-]{30,}")  # prefix of Google's API keys
_KINDS = {"service_account": "a service account key", "authorized_user": _SAVED_SIGN_IN}


def client_secrets(path: Path) -> dict[str, Any]:
    """The client secrets of a desktop app, as google-auth-oauthlib expects them: `{"installed": {...}}`.

    Raises:
        NotSignedInError: the file is missing, cannot be read or has other content; the message names what it is.
    """
    try:
        text = decode(read_regular_file(path, MAX_FILE_BYTES))
    except FileNotFoundError:
        raise NotSignedInError(f"there is no file {path}", hint=_HINT) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NotSignedInError(f"{path} cannot be read: {reason}", hint=_HINT) from None
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        loaded = text.strip()
    client = loaded.get("installed") if isinstance(loaded, dict) else None
    if not isinstance(client, dict):
        kind = kind_of(loaded) or "a file of an unknown kind"
        raise NotSignedInError(f"{path} is {kind}, not an OAuth client of type 'Desktop app'", hint=_HINT)
    for key in ("client_id", "client_secret"):
        if not isinstance(client.get(key), str) or not client[key]:
            raise NotSignedInError(f"{path}: {key} is missing", hint=_HINT)
    for key in ("auth_uri", "token_uri"):
        if not is_safe_url(str(client.get(key, ""))):
            raise NotSignedInError(f"{path}: {key} must be an https URL (http only for this machine)", hint=_HINT)
    return {"installed": client}


def kind_of(loaded: Any) -> str:
    """The kind of a file from Google, in the terms of Google's console; empty if it is unknown.

    `loaded` is its content as JSON, or its text if it is not JSON.
    """
    if isinstance(loaded, str):
        return "an API key" if _API_KEY.fullmatch(loaded) else ""
    if not isinstance(loaded, dict):
        return ""
    declared = loaded.get("type")
    if isinstance(declared, str) and declared:
        return _KINDS.get(declared, f"a credentials file of type '{escape(declared, limit=40)}'")
    if "installed" in loaded:
        return "an OAuth client of type 'Desktop app'"
    if "web" in loaded:
        return "an OAuth client of type 'Web application'"
    if not loaded.keys().isdisjoint({"refresh_token", "access_token", "token"}):
        return _SAVED_SIGN_IN
    if any(isinstance(value, str) and _API_KEY.fullmatch(value) for value in loaded.values()):
        return "an API key"
    return ""
