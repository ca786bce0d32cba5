"""Commands in the scientist role."""

from __future__ import annotations

from tests.support import ANA, Box


def test_start_and_doctor_report_missing_job_folders_to_a_scientist(box: Box) -> None:
    """X15"""
    box.configure({"do_email": ANA, "role": "scientist"})
    started = box.notify("start", check=0)
    box.notify("stop", check=0)
    assert "no data owner has a job folder" in " ".join((started.stdout + started.stderr).split())
    assert "no job folder of any data owner yet" in " ".join(box.notify("doctor").stdout.split())
