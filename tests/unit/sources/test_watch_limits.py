"""The file system of a mount point, as /proc/mounts lists it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syftnotify.sources.syftbox.watch.limits import remote_file_system


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("tmpfs / tmpfs rw 0 0\nserver:/x {} nfs4 rw 0 0\n", "nfs4"),
        ("tmpfs / tmpfs rw 0 0\ndrive {} fuse.rclone rw 0 0\n", "fuse.rclone"),
        ("server:/x / nfs rw 0 0\n/dev/sda {} ext4 rw 0 0\n", ""),
        ("/dev/sda / ext4 rw 0 0\nserver:/x {}x nfs rw 0 0\n", ""),
        ("", ""),
        ("server:/x {} nfs rw 0 0\n/dev/sdb /media/me/Müller ext4 rw 0 0\n", "nfs"),
        ("server:/x {} nfs rw 0 0\n/dev/sdb /media/me/a\rb\u2028c ext4 rw 0 0\n", "nfs"),
        ("server:/x {} nfs rw 0 0\n/dev/sdb /media/me/\udcff\\134 ext4 rw 0 0\n", "nfs"),
    ],
)
def test_remote_file_system_is_the_type_of_its_mount(tmp_path: Path, mounts: str, kind: str) -> None:
    folder = tmp_path / "my SyftBöx"
    folder.mkdir()
    path = tmp_path / "mounts"
    path.write_bytes(os.fsencode(mounts.format(str(folder).replace(" ", "\\040"))))

    assert remote_file_system(folder, mounts=path) == kind
    assert remote_file_system(folder, mounts=tmp_path / "none") == ""
