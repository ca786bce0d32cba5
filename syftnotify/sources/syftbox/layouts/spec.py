"""The traits of a layout that code outside its family needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayoutSpec:
    """The traits of one layout. `key` is part of entity ids and of the scan cache, so it never changes."""

    key: str
    has_file_list: bool = False  # config.yaml lists the files of the submission
    has_end_times: bool = False  # the owner's client records when a job ended
    has_end_marker: bool = False  # the end of a run creates a file, so its timestamp is the time of the end
    log_folder: str = ""  # subfolder of the results in which some releases put the logs
