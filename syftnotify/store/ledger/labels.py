"""Labels: the names of event types in the state file."""

from __future__ import annotations

from typing import Any

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import EventKind

Labels = tuple[str, ...]

# Kinds with a label of the documented Python interface; every other label is the event type itself.
_LABELS = {kind.value: kind.spec.label for kind in EventKind if kind.spec.label}
_KINDS = {label: kind for kind, label in _LABELS.items()}


def label_of(event_type: str) -> str:
    """The label of an event type, which is the name of a kind, a label, or any other string."""
    kind, separator, _ = event_type.partition("@")
    return event_type if separator else _LABELS.get(kind, kind)


def later_label(kind: EventKind, occurrence: str) -> str:
    """The label of an occurrence of `kind` that is not the first one of its entity."""
    return f"{kind}@{occurrence}"


def kind_of(label: str) -> str:
    """The name of the event kind that a label stands for, without its occurrence."""
    name = label.partition("@")[0]
    return _KINDS.get(name, name)


def occurrence_hash(occurrence: str) -> str:
    """Twelve hexadecimal digits for an occurrence: 48 bits keep the file small and do not collide within one job."""
    return stable_hash(occurrence)[:12]


def json_text(text: str) -> str:
    """`text` as valid JSON text. The bytes of a file name that is not UTF-8 are written as escapes.

    Raises:
        TypeError: it is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected text, got {type(text).__name__}")
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")


class LabelPool:
    """Interns label tuples. Most entities have the same few labels, so 100,000 of them share a few tuples."""

    def __init__(self) -> None:
        self._interned: dict[Labels, Labels] = {}

    def intern(self, labels: Any) -> Labels:
        """The shared tuple that equals `labels`, a list or tuple of strings.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(labels, (list, tuple)):
            raise ValueError("labels are not a list")
        wanted = tuple(labels)
        try:
            return self._interned[wanted]  # the usual case, so it comes first
        except (KeyError, TypeError):
            if not all(isinstance(label, str) for label in wanted):
                raise ValueError("a label is not a string") from None
        # Not shared: labels with an occurrence are unique, and long lists come from callers. The pool would only grow.
        is_rare = len(wanted) > len(EventKind) or any("@" in label for label in wanted)
        return wanted if is_rare else self._interned.setdefault(wanted, wanted)
