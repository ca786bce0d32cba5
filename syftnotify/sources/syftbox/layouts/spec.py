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
    has_review_folder: bool = False  # results are in the owner's `review` folder
    shows_running: bool = False  # a job that runs has another status than one that is approved
    shares_logs: bool = False  # the clients' rules let the submitter read the logs of a run
    names_by_path: bool = False  # the client takes a job's name from its folder, and not from config.yaml
    acts_by_name: bool = False  # the client finds the folder of a job by the name in config.yaml
    can_rerun: bool = False  # all clients of the layout can run a job again
    can_reject: bool = False  # the client can reject a job
    waiting_status: str = ""  # what the client calls a job that waits
    log_folder: str = ""  # subfolder of the results in which some releases put the logs
