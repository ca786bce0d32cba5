"""The Jinja2 environment of all templates, which users may write."""

from __future__ import annotations

from types import CodeType
from typing import Any

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """A sandbox without access to Python internals, in which templates cannot change the context.

    Access to a forbidden attribute is an error; the base class renders it as empty text.
    """

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """Raise SecurityError."""
        raise SecurityError(f"access to attribute {attribute!r} of {type(obj).__name__!r} is not allowed")


class CompiledTemplates(BytecodeCache):
    """The templates that this process has compiled, for all sandboxes with the same options.

    A worker has several: those of the homes that share a database, and that of the built-in templates.
    """

    def __init__(self) -> None:
        # By template: the checksum of its source, and the code.
        self._found: dict[str, tuple[str, CodeType | None]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Set the code of `bucket`, if its template was compiled."""
        checksum, code = self._found.get(bucket.key, ("", None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of `bucket`."""
        self._found[bucket.key] = bucket.checksum, bucket.code
