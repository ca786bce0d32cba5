"""All layouts. A new one is a module of this package, with a `LayoutSpec` in `_SPECS` and entries in the functions."""

from __future__ import annotations

from syftnotify.sources.syftbox.layouts.contract import Layout
from syftnotify.sources.syftbox.layouts.marker_files import B2, B3, B4, MarkerFiles, SubmitterMarkerFiles
from syftnotify.sources.syftbox.layouts.review_folders import C, D, ReviewFolders
from syftnotify.sources.syftbox.layouts.spec import LayoutSpec
from syftnotify.sources.syftbox.layouts.stage_folders import A, StageFolders

_SPECS = {spec.key: spec for spec in (A, B2, B3, B4, C, D)}
_WITHOUT_END_TIMES = tuple(f"job/{spec.key}/" for spec in _SPECS.values() if not spec.has_end_times)


def layout_spec(key: str) -> LayoutSpec:
    """The traits of the layout with that key."""
    return _SPECS[key]


def lacks_end_times(entity: str) -> bool:
    """Whether `entity` is a job in a layout that does not record when it ended."""
    return entity.startswith(_WITHOUT_END_TIMES)


def layouts_below_datasites() -> tuple[Layout, ...]:
    """The layouts in `R/datasites/<owner>/app_data/job`."""
    return StageFolders(), MarkerFiles(B2, allows_dot=True)


def layouts_below_root() -> tuple[Layout, ...]:
    """The layouts in `R/<owner>/app_data/job`."""
    return MarkerFiles(B3), SubmitterMarkerFiles(B4), ReviewFolders()


def layouts_of_party(owner: str) -> tuple[Layout, ...]:
    """The layouts in `R/<enclave>/app_data/job` in which several owners decide, for the jobs that `owner` decides."""
    return (ReviewFolders(party=owner),)


def layouts_of_submitter(submitter: str) -> tuple[Layout, ...]:
    """The layouts in `R/<owner>/app_data/job` whose paths name the submitter, for the jobs of one submitter."""
    return SubmitterMarkerFiles(B4, submitter=submitter), ReviewFolders(submitter=submitter)
