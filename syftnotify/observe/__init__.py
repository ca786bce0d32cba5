"""What is true in the folders now? Jobs, peers; read-only, nothing trusted, nothing read twice that did not change."""

from syftnotify.observe.evidence import evidence
from syftnotify.observe.jobs import JobReader, JobsLook
from syftnotify.observe.peers import OwnRequests, PeerReader
from syftnotify.observe.wake import Wake, Watched, count_folders

__all__ = ["JobReader", "JobsLook", "OwnRequests", "PeerReader", "Wake", "Watched", "count_folders", "evidence"]
