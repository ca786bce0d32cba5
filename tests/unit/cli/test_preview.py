"""`notify preview`: built-in and own templates with sample data."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.kinds import EventKind
from syftnotify.rendering.templates import built_in_folder
from syftnotify.services.preview import previews
from syftnotify.system.paths import Home
from tests.previews import parse_previews, preview, write_template
from tests.queries import file_states
from tests.support import Box


def test_preview_without_a_name_lists_the_names(box: Box) -> None:
    """D9"""
    listed = box.notify("preview", check=0).stdout

    assert "new_job" in listed
    assert "gpu_available" in listed


TEMPLATES = sorted({path.stem for path in (built_in_folder() / "emails").iterdir()})


@pytest.mark.parametrize("name", [*TEMPLATES, *(kind.value for kind in EventKind)])
def test_preview_of_every_template_and_event_is_complete(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """X14: in a home that is still empty."""
    mails = preview(Home(tmp_path), name, capsys)

    assert mails
    for subject, text in mails.values():
        assert subject
        assert text
        assert "None" not in text.replace("-> None:", "")  # in the code of the samples
        assert "{{" not in text


@pytest.mark.parametrize("name", TEMPLATES)
def test_preview_uses_own_templates(box: Box, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """X14: by the name of the file."""
    write_template(box, f"{name}.txt", f"my words of {name}")

    assert f"my words of {name}" in {text for _, text in preview(box.home, name, capsys).values()}


@pytest.mark.parametrize(
    "name", ["new_job", "new_job.html", "emails/new_job.txt", "job_failed", "job.failed", "FAILED"]
)
def test_preview_accepts_each_spelling_of_a_name(box: Box, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    mails = preview(box.home, name, capsys)

    assert {kind for kind, _ in mails} <= {"job_submitted", "job_failed", "job_timeout"}
    assert all("income survey" in text for _, text in mails.values())


def test_preview_prints_subject_and_text(box: Box) -> None:
    mails = parse_previews(box.notify("preview", "job_failed", check=0).stdout)

    subject, text = mails["job_failed", "owner"]
    assert subject == 'SyftBox job "income survey" from ana@uni.example'
    assert "KeyError: 'weight'" in text


def test_preview_of_event_shows_each_audience(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """Although one of the templates has the name of the event."""
    mails = preview(box.home, "job_submitted", capsys)

    assert mails.keys() == {("job_submitted", "owner"), ("job_submitted", "submitter")}


def test_preview_html_is_written_to_a_file(box: Box) -> None:
    path = box.folder / "preview.html"
    done = box.notify("preview", "new_job", "--html", str(path), check=0)
    text = path.read_text(encoding="utf-8")

    assert str(path) in done.stdout
    assert text.lstrip().lower().startswith("<!doctype html")
    assert "income survey" in text
    assert "style=" in text


def test_preview_to_unwritable_file_is_an_error(box: Box) -> None:
    done = box.notify("preview", "new_job", "--html", str(box.folder / "none" / "preview.html"), check=1)

    assert "preview.html cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("new_jub", "new_job"), ("job_faild", "job_failed"), ("peer_grantd", "peer_granted"), ("digset", "digest")],
)
def test_preview_unknown_name_suggests_the_nearest(box: Box, name: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        previews(box.home, name)

    assert f"`{nearest}`" in str(caught.value)


def test_preview_unknown_name_exits_with_two(box: Box) -> None:
    done = box.notify("preview", "new_jub", check=2)

    assert "`new_job`" in done.stderr
    assert "Traceback" not in done.stderr


WRONG_TEMPLATES = [
    "Hello\n{% if job %}\n",
    "{{ job_name.first.second }}",
    "{{ 1 / 0 }}",
    "{{ job_name | upcase }}",
    "{% include 'emails/nowhere.txt' %}",
    "{{ job_name + 1 }}",
    "{{ timestamp.nothing() }}",
    b"caf\xe9",
]


@pytest.mark.parametrize("text", WRONG_TEMPLATES)
def test_preview_template_error_names_the_template(box: Box, text: str | bytes) -> None:
    """X14: without a traceback."""
    write_template(box, "new_job.txt", text)
    with pytest.raises(NotifyError) as caught:
        previews(box.home, "new_job")

    assert "new_job.txt" in f"{caught.value} {caught.value.hint}"


def test_preview_template_error_prints_no_traceback(box: Box) -> None:
    write_template(box, "new_job.html", "{% if job %}")
    done = box.notify("preview", "new_job")

    assert done.returncode in {1, 2}
    assert "new_job.html" in done.stderr
    assert "Traceback" not in done.stderr


def test_preview_includes_prefix_and_links(box: Box) -> None:
    """N08, G15: a link is half of what an own template is tested for."""
    box.configure(
        {
            "transports": {"box": {"type": "maildir", "subject_prefix": "[prod]"}},
            "links": {"job": "https://box.example/jobs/{job}"},
        }
    )
    ((subject, text),) = parse_previews(box.notify("preview", "new_job", check=0).stdout).values()

    assert subject.startswith("[prod] ")
    assert "https://box.example/jobs/income%20survey" in text


@pytest.mark.parametrize("body", ["plain", "html"])
def test_preview_shows_text_and_html_whichever_is_sent(box: Box, body: str) -> None:
    box.configure({"transports": {"box": {"type": "maildir", "body": body}}})
    path = box.folder / "preview.html"
    ((_, text),) = parse_previews(box.notify("preview", "new_job", check=0).stdout).values()
    box.notify("preview", "new_job", "--html", str(path), check=0)

    assert "income survey" in text
    assert "income survey" in path.read_text(encoding="utf-8")


def test_preview_changes_nothing(box: Box) -> None:
    before = file_states(box.folder)
    with contextlib.suppress(ConfigError):
        previews(box.home, "nonsense")
    box.notify("preview", "job_failed", check=0)

    assert file_states(box.folder) == before


def test_preview_reports_mistakes_of_the_configuration(box: Box) -> None:
    """Default settings instead would show a mail that is never sent."""
    box.home.config.write_text("transport: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="transport"):
        previews(box.home, "new_job")
