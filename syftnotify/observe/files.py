"""How is a file of the tree read? Small, regular, inside its folder, through no link, and never for ever."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_NAMES = 200_000  # a folder that holds more is read to here, and the rest left out
CONFIG_CAP = 256 * 1024  # bytes of a config.yaml or state.yaml
_MAX_DEPTH = 32
_MAX_NODES = 20_000  # events of libyaml, a fifth of a second of work; a job lists some dozen files
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
_NULL = "tag:yaml.org,2002:null"
_SCALARS = frozenset(
    {_TEXT, _NULL, *(f"tag:yaml.org,2002:{kind}" for kind in ["bool", "int", "float", "timestamp", "binary"])}
)


def _number(loader: Any, node: Any) -> Any:
    """A number, or what is too long to be one as text: one of base 60 costs the square of its length."""
    if len(node.value) > _LONGEST_NUMBER:
        return node.value
    kind = "int" if node.tag.endswith(":int") else "float"
    return getattr(loader, f"construct_yaml_{kind}")(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_MAKER = _Loader("")  # constructors of scalars keep nothing in it


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


class Opened:
    """Folders of the tree that stay open while many files below them are read; through no link, like these."""

    _MOST = 64

    def __init__(self) -> None:
        self._folders: dict[tuple[str, tuple[str, ...]], int] = {}
        self.has_moved = False  # one of them lay elsewhere when it was closed: what was read below it is not there

    def at(self, base: str, parts: tuple[str, ...]) -> int:
        """The descriptor of that folder. Raises: OSError."""
        if (base, parts) not in self._folders:
            if len(self._folders) >= self._MOST:
                self.close()
            self._folders[base, parts] = _open_inside(base, parts)
        return self._folders[base, parts]

    def close(self) -> None:
        while self._folders:
            (base, parts), descriptor = self._folders.popitem()
            found = os.fstat(descriptor)
            os.close(descriptor)
            path = os.path.join(base, *parts)
            self.has_moved = self.has_moved or signature(path)[2] != found.st_ino


def read_inside(
    base: str, parts: Sequence[str], *, cap: int, tail: bool = False, opened: Opened | None = None
) -> tuple[bytes, int]:
    """At most `cap` bytes of the regular file `parts` below `base`, and its whole size.

    `base` itself is trusted; no link is followed below it. `tail` reads the end instead of the beginning. The folder
    above the file's own is one of those that stay `opened`.

    Raises:
        FileNotFoundError: there is none.
        UnreadableError: it is no regular file, lies behind a link, or cannot be read.
    """
    if not parts or any(part in {"", ".", ".."} or "/" in part or "\0" in part for part in parts):
        raise UnreadableError("not a name inside the folder")
    try:
        descriptor = _open_inside(base, parts, opened)
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
        content = os.read(descriptor, cap)
        while len(content) < min(cap, found.st_size) and (chunk := os.read(descriptor, cap - len(content))):
            content += chunk
        return content, found.st_size
    except OSError as error:
        raise UnreadableError(error.strerror or "cannot be read") from error
    finally:
        os.close(descriptor)


def _open_inside(base: str, parts: Sequence[str], opened: Opened | None = None) -> int:
    if not HAS_DIR_FD:  # Windows: no links without special rights, and no way to walk by descriptor
        path = base
        for part in parts:
            path = os.path.join(path, part)
            if os.path.islink(path):
                raise OSError("behind a link")
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    *above, name = parts
    kept = None
    if opened is not None and len(above) > 1:
        folder = kept = opened.at(base, tuple(above[:-1]))
        above = above[-1:]
    else:
        folder = os.open(base, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        for part in above:
            below = os.open(part, os.O_RDONLY | _FOLDER_FLAGS, dir_fd=folder)
            if folder != kept:
                os.close(folder)
            folder = below
        return os.open(name, os.O_RDONLY | _FLAGS, dir_fd=folder)
    finally:
        if folder != kept:
            os.close(folder)


def read_yaml(base: str, parts: Sequence[str], opened: Opened | None = None) -> dict[str, Any]:
    """The mapping in a YAML file of the tree.

    Raises:
        FileNotFoundError: there is none.
        UnreadableError: empty, cut, too large, not a mapping, or built to hurt.
    """
    content, size = read_inside(base, parts, cap=CONFIG_CAP, opened=opened)
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
        document = _Document(text)
        loaded = document.root
        if document.is_unusual:
            loaded = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except UnreadableError:
        raise
    except (yaml.YAMLError, ValueError, LookupError, RecursionError, OverflowError, TypeError, AttributeError) as error:
        raise UnreadableError("not readable as YAML") from error
    if not isinstance(loaded, dict):
        raise UnreadableError("not a mapping")
    return loaded


class _Document:
    """A document, built from libyaml's events: in half the time of PyYAML's nodes, and no deeper than is good."""

    def __init__(self, text: str) -> None:
        self.is_unusual = False  # only the library's own way of building can spell it: sets, and the like
        self._left = _MAX_NODES
        self._loader = _Loader(text)
        try:
            self.root = self._only_one()
        finally:
            self._loader.dispose()

    def _only_one(self) -> Any:
        self._next()  # the beginning of the stream
        if type(self._next()) is yaml.StreamEndEvent:
            return None
        root = self._node(self._next(), 0)
        self._next()  # the end of the document
        if type(self._next()) is not yaml.StreamEndEvent:
            raise UnreadableError("more than one document")
        return root

    def _next(self) -> Any:
        self._left -= 1
        if self._left < 0:
            raise UnreadableError("too large")
        return self._loader.get_event()

    def _node(self, event: Any, depth: int) -> Any:
        kind = type(event)
        if event.anchor is not None:  # an alias has one, too
            raise UnreadableError("holds anchors or aliases")
        if kind is yaml.ScalarEvent:
            event.value.encode("utf-8")  # else no text: a half of a character, which libyaml alone refuses itself
            return _scalar(event)
        if depth == _MAX_DEPTH:
            raise UnreadableError("nested too deep")
        self.is_unusual = self.is_unusual or not event.implicit
        if kind is yaml.SequenceStartEvent:
            sequence = []
            while type(event := self._next()) is not yaml.SequenceEndEvent:
                sequence.append(self._node(event, depth + 1))
            return sequence
        mapping = {}
        while type(event := self._next()) is not yaml.MappingEndEvent:
            key = self._node(event, depth + 1)
            if type(key) is not str:
                raise UnreadableError("a key that is no text")
            mapping[key] = self._node(self._next(), depth + 1)
        return mapping


def _scalar(event: Any) -> Any:
    """The value of a scalar, as PyYAML's safe loader has it."""
    text = event.value
    if event.implicit[0]:  # plain: it may be more than a text
        for tag, spelled in _Loader.yaml_implicit_resolvers.get(text[:1], ()):
            if spelled.match(text):
                return None if tag == _NULL else _made(tag, text)
        return text
    return text if event.implicit[1] else _made(event.tag, text)


def _made(tag: str, text: str) -> Any:
    if tag not in _SCALARS:
        raise UnreadableError("a tag that nobody knows")
    return _Loader.yaml_constructors[tag](_MAKER, yaml.ScalarNode(tag, text))


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
                    if count >= MAX_NAMES:
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
