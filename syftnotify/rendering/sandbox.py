"""The one environment in which templates run: no access to Python's internals, and nothing they are given changes."""

from __future__ import annotations

from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """Like its base, but what is not allowed fails at once; the base prints nothing for it."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """Raises: SecurityError."""
        raise SecurityError(f"access to attribute {attribute!r} of {type(obj).__name__!r} is not allowed")
