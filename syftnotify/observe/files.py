"""How is a file of the tree read? Small, regular, inside its folder, through no link, and never for ever."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

CONFIG_CAP = 256 * 1024  # bytes of a config.yaml or state.yaml
# Nothing so short, with so few brackets, nests deep enough to hurt libyaml, whose recursion has no bound: block style
# takes one blank more at each level, so N characters nest no deeper than the root of 2 N.
_FAST_CAP = 16 * 1024  # characters
_FEW_BRACKETS = 32
_MAX_DEPTH = 32
_MAX_NODES = 20_000  # a fifth of a second of work; a job lists some dozen files
_LONGEST_NUMBER = 100  # characters
_DIRECTIVE = re.compile(r"^%(?!YAML )", re.MULTILINE)  # libyaml compares each with all before it
# A file written in the same clock tick as our look can change again and keep its numbers.
RACY_SECONDS = 2.0

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER_FLAGS = _FLAGS | getattr(os, "O_DIRECTORY", 0)
HAS_DIR_FD = os.open in os.supports_dir_fd

Signature = tuple[int, int, int]
GONE: Signature = (0, 0, 0)


class UnreadableError(Exception):
    """A file that is there and cannot be believed now: torn, too large, no regular file, wrong in form."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # a base that is found at run time
    """PyYAML's safe loader, libyaml's where present; nothing in it costs more than its length."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        # Numbers can be made to fall into one place of a dictionary; the hash of a text cannot be foreseen.
        if any(getattr(key, "tag", "") != _TEXT for key, _ in node.value):
            raise UnreadableError("a key that is no text")
        return super().construct_mapping(node, deep=deep)


_TEXT = "tag:yaml.org,2002:str"


def _number(loader: Any, node: Any) -> Any:
    """A number, or what is too long to be one as text: one of base 60 costs the square of its length."""
    if len(node.value) > _LONGEST_NUMBER:
        return node.value
    kind = "int" if node.tag.endswith(":int") else "float"
    return getattr(loader, f"construct_yaml_{kind}")(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def signature(path: str) -> Signature:
    """What changes when the file changes: (mtime_ns, size, inode); `GONE` where there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return GONE
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def regular_file(path: str) -> Signature | None:
    """The signature of `path` where it is a regular file, and no link."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def is_racy(found: Signature, now: float) -> bool:
    """Whether another write could have left the same signature; never where there is no file."""
    return found != GONE and abs(now - found[0] / 1e9) < RACY_SECONDS


def read_inside(base: str, parts: Sequence[str], *, cap: int, tail: bool = False) -> tuple[bytes, int]:
    """At most `cap` bytes of the regular file `parts` below `base`, and its whole size.

    `base` itself is trusted; no link is followed below it. `tail` reads the end instead of the beginning.

    Raises:
        FileNotFoundError: there is none.
        UnreadableError: it is no regular file, lies behind a link, or cannot be read.
    """
    if not parts or any(part in {"", ".", ".."} or "/" in part or "\0" in part for part in parts):
        raise UnreadableError("not a name inside the folder")
    try:
        descriptor = _open_inside(base, parts)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(parts[-1]) from None
    except OSError as error:
        raise UnreadableError(error.strerror or "cannot be opened") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableError("not a regular file")
        if tail and found.st_size > cap:
            os.lseek(descriptor, found.st_size - cap, os.SEEK_SET)
        content = b""
        while len(content) < cap and (chunk := os.read(descriptor, cap - len(content))):
            content += chunk
        return content, found.st_size
    except OSError as error:
        raise UnreadableError(error.strerror or "cannot be read") from error
    finally:
        os.close(descriptor)


def _open_inside(base: str, parts: Sequence[str]) -> int:
    if not HAS_DIR_FD:  # Windows: no links without special rights, and no way to walk by descriptor
        path = base
        for part in parts:
            path = os.path.join(path, part)
            if os.path.islink(path):
                raise OSError("behind a link")
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    folder = os.open(base, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | _FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(parts[-1], os.O_RDONLY | _FLAGS, dir_fd=folder)
    finally:
        os.close(folder)


def read_yaml(base: str, parts: Sequence[str]) -> dict[str, Any]:
    """The mapping in a YAML file of the tree.

    Raises:
        FileNotFoundError: there is none.
        UnreadableError: empty, cut, too large, not a mapping, or built to hurt.
    """
    content, size = read_inside(base, parts, cap=CONFIG_CAP)
    if size > CONFIG_CAP:
        raise UnreadableError(f"larger than {CONFIG_CAP // 1024} KiB")
    return parse_yaml(content)


def parse_yaml(content: bytes) -> dict[str, Any]:
    """The mapping that `content` spells. Raises: UnreadableError, as in `read_yaml`."""
    if not content.strip():
        raise UnreadableError("empty")
    try:
        text = content.decode("utf-8")
        if _DIRECTIVE.search(text):
            raise UnreadableError("holds directives")
        if not _is_harmless(text):
            _refuse_bombs(text)
        loaded = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except UnreadableError:
        raise
    except (yaml.YAMLError, ValueError, LookupError, RecursionError, OverflowError, TypeError, AttributeError) as error:
        raise UnreadableError("not readable as YAML") from error
    if not isinstance(loaded, dict):
        raise UnreadableError("not a mapping")
    return loaded


def _is_harmless(text: str) -> bool:
    return (
        len(text) <= _FAST_CAP
        and text.count("[") + text.count("{") <= _FEW_BRACKETS
        and not any(sign in text for sign in ("&", "*", "- -", "? ?"))
    )


def _refuse_bombs(text: str) -> None:
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise UnreadableError("holds anchors or aliases")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise UnreadableError("nested too deep or too large")


# The only file names of a job that anybody asks for; a folder may hold fifty thousand others.
_KNOWN_FILES = frozenset({"config.yaml", "run.sh", "approved", "done", ".approved", ".done", "returncode.txt"})


@dataclass(slots=True)
class _Listing:
    found: Signature
    racy: bool
    folders: tuple[str, ...]
    files: frozenset[str]


@dataclass(slots=True)
class Folders:
    """The names in the folders of the tree, listed again only where a folder says that names came or went."""

    max_names: int = 200_000  # a folder that holds more is read to here, and the rest left out
    _known: dict[str, _Listing] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Start a look; `end` forgets what was not asked for since."""
        self._seen = set()

    def end(self) -> None:
        for path in self._known.keys() - self._seen:
            del self._known[path]

    def folders(self, path: str, now: float) -> tuple[str, ...]:
        """The names of the folders in `path`, sorted, links left out; empty where there is no such folder."""
        listing = self._listing(path, now)
        return listing.folders if listing else ()

    def files(self, path: str, now: float) -> frozenset[str] | None:
        """Which of a job's known files lie in `path`, or None where there is no such folder."""
        listing = self._listing(path, now)
        return listing.files if listing else None

    def _listing(self, path: str, now: float) -> _Listing | None:
        self._seen.add(path)
        try:
            status = os.stat(path)  # followed: the owner's own root or job folder may be a link
        except OSError:
            self._known.pop(path, None)
            return None
        found = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._known.get(path)
        if known and known.found == found and not known.racy:
            return known
        folders: list[str] = []
        files: list[str] = []
        try:
            with os.scandir(path) as entries:
                for count, entry in enumerate(entries):
                    if count >= self.max_names:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif entry.name in _KNOWN_FILES and entry.is_file(follow_symlinks=False):
                        files.append(entry.name)
        except OSError:
            self._known.pop(path, None)
            return None
        listing = _Listing(found, is_racy(found, now), tuple(sorted(folders)), frozenset(files))
        self._known[path] = listing
        return listing
