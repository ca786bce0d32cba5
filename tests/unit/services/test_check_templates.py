"""`notify preview --check DIR`, and the gallery."""

from __future__ import annotations

from pathlib import Path

import pytest

from syftnotify.rendering.templates import built_in_folder
from syftnotify.services.preview import check_templates, write_gallery
from syftnotify.services.samples import all_samples
from syftnotify.system.paths import Home
from tests.in_process import run_command
from tests.support import Box


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("emails/new_job.txt", "Job\n{{ job_nam }}\n", "emails/new_job.txt, line 2: 'job_nam' is undefined"),
        ("emails/digest.html", "{{ groups[0].sender }}", "emails/digest.html, line 1: "),
        ("emails/job_done.html", "{{ text.headlin }}", "emails/job_done.html, line 1: "),
        ("emails/job_failed.txt", "{% if %}", "emails/job_failed.txt: line 1: "),
        ("emails/new_jobs.txt", "x", "emails/new_jobs.txt: there is no built-in template of this name"),
    ],
)
def test_check_lists_what_is_missing(tmp_path: Path, name: str, text: str, error: str) -> None:
    write(tmp_path, name, text)

    assert [line for line in check_templates(tmp_path) if line.startswith(error)]


@pytest.mark.thorough
def test_check_accepts_the_built_in_templates(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert check_templates(built_in_folder()) == []
    run_command(Home(tmp_path), "preview", "--check", str(built_in_folder()))

    assert "are valid" in capsys.readouterr().out


@pytest.mark.thorough
def test_check_of_a_wrong_template_exits_with_1(box: Box) -> None:
    write(box.folder / "own", "emails/test.txt", "{{ nothing }}")

    assert "'nothing' is undefined" in box.notify("preview", "--check", str(box.folder / "own"), check=1).stdout


@pytest.mark.thorough
def test_gallery_has_all_samples_with_own_templates(box: Box) -> None:
    write(box.home.templates, "emails/test.html", "<p>my test</p>")
    index, *mails = write_gallery(box.home, box.folder / "gallery")

    assert [path.stem for path in mails] == [sample.name for sample in all_samples()]
    assert all(f'href="{path.name}"' in index.read_text(encoding="utf-8") for path in mails)
    assert "my test" in (box.folder / "gallery" / "test-owner-realistic.html").read_text(encoding="utf-8")
