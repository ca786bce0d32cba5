"""Pipes, sockets, links and folders in the place of files, and files without end (X11)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.property.hostile import (
    ABE,
    FAMILIES,
    HONEST,
    INSTEAD,
    LAYOUTS,
    MAL,
    a_folder,
    a_link_outside,
    a_pipe,
    a_socket,
    live,
    replace,
    submissions,
    victims,
)
from tests.scanning import on
from tests.support import BO, Box
from tests.trees import ReviewTree, Tree

pytestmark = pytest.mark.thorough


@on(*LAYOUTS)
@pytest.mark.parametrize("instead", INSTEAD, ids=lambda instead: instead.__name__)
def test_special_file_in_place_of_a_file_is_never_read(
    box: Box, tree: Tree, outside: Path, instead: Callable[[Path, Path], None]
) -> None:
    """X11: regular files only, no link followed, nothing waited for; in each place."""
    paths = victims(tree)
    for path in paths.values():
        replace(tree, path, instead, outside)
    if tree.names_submitter:
        tree.submit("whole", MAL)
        inbox = tree.base / "inbox" if isinstance(tree, ReviewTree) else tree.base
        replace(tree, inbox / MAL, instead, outside)
    mails = live(box, tree, also={MAL} if instead is a_folder else ())  # which is a scientist's all the same
    notified = submissions(mails)
    assert tree.entity("whole", MAL) not in notified
    assert tree.entity("config", ABE) in notified, "A1: the owner is notified that it waits and cannot be read"
    if instead is not a_folder:  # which holds a config.yaml, and so is a job
        assert tree.entity("job", ABE) not in notified
    assert {tree.entity(name, ABE) for name in ("run", "code-file", "code-folder", "stdout")} <= notified


@on(*FAMILIES)
@pytest.mark.parametrize("instead", [a_pipe, a_socket, a_link_outside], ids=lambda instead: instead.__name__)
def test_file_replaced_by_a_special_file_later_is_never_read(
    box: Box, tree: Tree, outside: Path, instead: Callable[[Path, Path], None]
) -> None:
    """X11: what was read once is checked again."""
    paths = victims(tree)
    for _ in range(2):
        box.clock.advance(10)
        box.scan()
    before = len(box.mails())
    assert before > 0
    for path in paths.values():
        replace(tree, path, instead, outside)
    mails = live(box, tree)
    new = [mail for mail in mails[before:] if mail.event == "job_submitted"]
    honest, unreadable = tree.entity(HONEST, BO), tree.entity("config", ABE)
    assert {entity for mail in new for entity in mail.entities} == {honest, unreadable}


@on(*LAYOUTS)
def test_files_of_100_megabytes_stop_no_other_job(box: Box, tree: Tree) -> None:
    """X11: sizes are capped, whatever a file begins with."""
    for path in victims(tree).values():
        if path.is_file():
            os.truncate(path, 100 << 20)
    live(box, tree)
    assert sum(each.stat().st_size for each in box.home.root.rglob("*") if each.is_file()) < 10 << 20
