"""The Jinja2 environment of all templates, which users may write."""

from __future__ import annotations

from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """A sandbox without access to Python internals, in which templates cannot change the context.

    Access to a forbidden attribute is an error; the base class renders it as empty text.
    """

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """Raise SecurityError."""
        raise SecurityError(f"access to attribute {attribute!r} of {type(obj).__name__!r} is not allowed")
