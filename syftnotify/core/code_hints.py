"""Places in a job's code that a reviewer should read with care: a list of patterns, which misses a lot.

What it finds may be harmless, and what it does not find may be harmful. docs/mails.md lists the patterns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

MAX_HINTS = 12  # in all
_MAX_PER_TOPIC = 3  # of one topic in one file
_MAX_LINE = 2000  # characters of a line that are searched
_LONG_LINE = 1000  # characters; code that a person wrote has no such line
_EXCERPT = 160  # characters


class HintTopic(StrEnum):
    """Why a line should be read with care; the members are in the order in which hints are listed."""

    OUTSIDE_PATH = "outside_path"
    NETWORK = "network"
    PROCESS = "process"
    DYNAMIC_CODE = "dynamic_code"
    OBFUSCATION = "obfuscation"
    ENVIRONMENT = "environment"
    DELETION = "deletion"
    SYFTBOX_DATA = "syftbox_data"  # the last one: most jobs have it


_RANKS = {topic: rank for rank, topic in enumerate(HintTopic)}
_PATTERNS = {
    HintTopic.OUTSIDE_PATH: r"""
        (?<![\w.])\.\./ | ["'\s=(]~/ | expanduser | Path\.home | \.ssh\b
        | ["'\s=(](?:/etc|/home|/root|/proc|/sys|/var|/usr|/mnt|/media|/Users|/data)(?:/|\b) | \b[A-Za-z]:\\\\
    """,
    HintTopic.NETWORK: r"""
        \b(?:import|from)\s+(?:requests|httpx|urllib|urllib3|aiohttp|socket|ftplib|smtplib|paramiko|http|websockets?
        |telnetlib|xmlrpc|boto3|imaplib|poplib|ssl)\b
        | \b(?:curl|wget|scp|rsync|nc|ncat|ssh|ftp|telnet)\s+[-\w"'$/]
        | https?:// | \bftp:// | urlopen | urlretrieve | socket\.socket | download\.file\( | url\(
    """,
    HintTopic.PROCESS: r"""
        \bsubprocess\b | \bos\.(?:system|popen|exec\w*|spawn\w*|fork\w*|kill)\b | \bpty\b | \bPopen\b
        | \bmultiprocessing\b | \bsystem2?\( | \bpip\s+install | \buv\s+(?:add|pip) | \bconda\s+install | ^\s*[!%][a-z]
    """,
    HintTopic.DYNAMIC_CODE: r"""
        (?<![\w.])(?:eval|exec|compile|__import__)\s*\( | \bimportlib\b | \brunpy\b
        | getattr\s*\(\s*(?:__builtins__|builtins)
        | \b(?:pickle|cPickle|dill|cloudpickle|marshal|shelve|joblib)\b | torch\.load | np\.load\(.*allow_pickle
        | \byaml\.(?:load|unsafe_load)\( | \bctypes\b | \bcffi\b | \bsource\( | <\( | \|\s*(?:ba|z|da)?sh\b
    """,
    HintTopic.OBFUSCATION: r"""
        \b(?:base64|b64decode|a85decode|b85decode|unhexlify|fromhex|codecs\.decode|zlib\.decompress|rot_?13)\b
        | (?:\\x[0-9a-fA-F]{2}){6} | (?:chr\(\d+\)\s*\+\s*){3} | ["'][A-Za-z0-9+/=]{200,}["']
    """,
    HintTopic.ENVIRONMENT: r"""
        \bos\.(?:environ|getenv|getlogin|uname)\b | \bgetpass\b | \bplatform\.(?:node|uname)\b | Sys\.getenv
        | \bprintenv\b | ^\s*env\b | \bsettrace\b | \binspect\b | \bgc\.get_objects | \bsys\._getframe
    """,
    HintTopic.DELETION: r"""
        \bshutil\.(?:rmtree|move)\b | \bos\.(?:remove|unlink|rmdir|removedirs|rename|replace|chmod|chown|symlink|link)\b
        | \.unlink\( | \brm\s+-\w*[rf] | \bsetattr\s*\(\s*sys | \bfile\.remove\(
    """,
    HintTopic.SYFTBOX_DATA: r"\bsyft:// | \bresolve_\w*path\b | /private/",
}
_COMPILED = {topic: re.compile(pattern, re.VERBOSE) for topic, pattern in _PATTERNS.items()}
# One search rejects nearly all lines.
_ANY = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS.values()), re.VERBOSE)


@dataclass(frozen=True, slots=True)
class Hint:
    """A line to read with care."""

    topic: HintTopic
    path: str
    line: int  # number, from 1
    text: str  # the beginning of the line, without its indentation


def find_hints(files: Iterable[tuple[str, str]]) -> tuple[list[Hint], int]:
    """At most `MAX_HINTS` places in `files` (pairs of path and text), and how many more there are.

    A line has at most one hint for each topic. If there are too many, each topic keeps its first ones.
    """
    total = 0
    found: list[Hint] = []
    for path, text in files:
        hints, count = _hints_in(path, text)
        found += hints
        total += count
    order = sorted(range(len(found)), key=_turns(found).__getitem__)
    chosen = sorted(order[:MAX_HINTS], key=lambda index: (_RANKS[found[index].topic], index))
    return [found[index] for index in chosen], total - len(chosen)


def _turns(found: list[Hint]) -> list[tuple[int, int]]:
    """For each hint how many of its topic precede it, and the rank of its topic."""
    seen = Counter[HintTopic]()
    turns = []
    for hint in found:
        turns.append((seen[hint.topic], _RANKS[hint.topic]))
        seen[hint.topic] += 1
    return turns


def _hints_in(path: str, text: str) -> tuple[list[Hint], int]:
    """The first hints of each topic, and the number of all."""
    counts = Counter[HintTopic]()
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        for topic in _topics_of(line):
            counts[topic] += 1
            if counts[topic] <= _MAX_PER_TOPIC:
                found.append(Hint(topic, path, number, _excerpt(line)))
    return found, counts.total()


def _topics_of(line: str) -> Iterator[HintTopic]:
    start = line[:_MAX_LINE]
    is_long = len(line) > _LONG_LINE
    if not is_long and _ANY.search(start) is None:
        return
    for topic, pattern in _COMPILED.items():
        if pattern.search(start) is not None or (is_long and topic is HintTopic.OBFUSCATION):
            yield topic


def _excerpt(line: str) -> str:
    text = line.strip()
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"
