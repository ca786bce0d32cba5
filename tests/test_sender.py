"""The calls of Python users: one mail now, true or false, never an exception; and the templates behind them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest

import syftnotify
from syftnotify.core.errors import ConfigError
from syftnotify.rendering.templates import TemplateRenderer, built_in_folder
from syftnotify.sender import GmailSender
from syftnotify.transports.gmail.auth import GmailAuth
from tests.fakes.google import SECRET, Answer, Google, body, closes, page, refuses_the_grant, resets, says, serving
from tests.support import ANA, OWNER, PATIENCE

WHEN = datetime(2024, 1, 15, 15, 30, tzinfo=UTC)
Call = Callable[[GmailSender], bool]


@pytest.fixture
def google() -> Iterator[Google]:
    with serving() as google:
        yield google


def sender_at(google: Google, folder: Path, *, use_html: bool = True) -> GmailSender:
    token = google.write_token(folder / "gmail_token.json")
    return GmailSender(GmailAuth().load_credentials(token), use_html, api_endpoint=google.url)


@pytest.fixture
def sender(google: Google, tmp_path: Path) -> GmailSender:
    return sender_at(google, tmp_path)


# Each call with the recipient, and with what its subject and both its faces must say.
_CALLS = [
    pytest.param(
        lambda sender: sender.notify_new_job(OWNER, "income survey", ANA, WHEN, "https://box.example/jobs/1"),
        OWNER,
        ("income survey", ANA),
        ("income survey", ANA, "January 15, 2024 at 03:30 PM", "https://box.example/jobs/1"),
        id="new-job",
    ),
    pytest.param(
        lambda sender: sender.notify_new_job(do_email=OWNER, job_name="income survey", submitter=ANA),
        OWNER,
        ("income survey", ANA),
        ("income survey", ANA),
        id="new-job-in-short",
    ),
    pytest.param(
        lambda sender: sender.notify_job_approved(ANA, "income survey", "https://box.example/jobs/1"),
        ANA,
        ("income survey", "approved"),
        ("income survey", "approved", "https://box.example/jobs/1"),
        id="job-approved",
    ),
    pytest.param(
        lambda sender: sender.notify_job_approved(ds_email=ANA, job_name="income survey"),
        ANA,
        ("income survey", "approved"),
        ("income survey", "approved"),
        id="job-approved-in-short",
    ),
    pytest.param(
        lambda sender: sender.notify_job_executed(ANA, "income survey", 8130, "https://box.example/results/1"),
        ANA,
        ("income survey",),
        ("income survey", "2 hours 15 minutes 30 seconds", "https://box.example/results/1"),
        id="job-executed",
    ),
    pytest.param(
        lambda sender: sender.notify_job_executed(ds_email=ANA, job_name="income survey", duration=0),
        ANA,
        ("income survey",),
        ("income survey", "0 seconds"),
        id="job-executed-at-once",
    ),
    pytest.param(
        lambda sender: sender.notify_new_peer_request_to_do(OWNER, ANA, "https://box.example/peers"),
        OWNER,
        (ANA,),
        (ANA, "https://box.example/peers"),
        id="new-peer-request",
    ),
    pytest.param(
        lambda sender: sender.notify_peer_request_sent(ANA, OWNER), ANA, (OWNER,), (OWNER,), id="peer-request-sent"
    ),
    pytest.param(
        lambda sender: sender.notify_peer_request_granted(ds_email=ANA, do_email=OWNER),
        ANA,
        (OWNER, "accepted"),
        (OWNER, "accepted"),
        id="peer-request-granted",
    ),
    pytest.param(
        lambda sender: sender.send_email(ANA, "Custom Alert", "Plain words.", "<h1>Plain words.</h1>"),
        ANA,
        ("Custom Alert",),
        ("Plain words.",),
        id="send-email",
    ),
]


@pytest.mark.parametrize(("call", "recipient", "subject", "words"), _CALLS)
def test_each_call_sends_one_mail_with_both_faces(
    google: Google, sender: GmailSender, call: Call, recipient: str, subject: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """S01, S04, S05, S06, S07, S08."""
    assert call(sender) is True

    (post,) = google.posts
    assert post.to == recipient
    assert post.mail.get_content_type() == "multipart/alternative"
    for word in subject:
        assert word in post.subject
    for word in words:
        assert word in post.text
        assert word in post.html


@pytest.mark.parametrize(("call", "recipient", "subject", "words"), _CALLS)
def test_without_html_each_mail_is_plain_text_alone(
    google: Google, tmp_path: Path, call: Call, recipient: str, subject: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """S04."""
    assert call(sender_at(google, tmp_path, use_html=False)) is True

    (post,) = google.posts
    assert post.to == recipient
    assert post.mail.get_content_type() == "text/plain"
    for word in words:
        assert word in post.text


def test_a_mail_without_html_is_plain_text_alone(google: Google, sender: GmailSender) -> None:
    """S08."""
    assert sender.send_email(ANA, "Custom Alert", "Plain words.") is True

    (post,) = google.posts
    assert post.mail.get_content_type() == "text/plain"
    assert post.text.strip() == "Plain words."


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(page(500), id="500"),
        pytest.param(says(400, "invalidArgument"), id="400"),
        pytest.param(says(401, "authError"), id="401"),
        pytest.param(says(403, "dailyLimitExceeded"), id="daily-limit"),
        pytest.param(says(429, "rateLimitExceeded"), id="429"),
        pytest.param(page(302, {"Location": "/elsewhere"}), id="302"),
        pytest.param(body(b"<html></html>"), id="200-html"),
        pytest.param(closes, id="closes"),
        pytest.param(resets, id="resets"),
    ],
)
@pytest.mark.parametrize(("call", "recipient", "subject", "words"), _CALLS[::3])
def test_each_call_says_false_when_gmail_does_not_take_the_mail(
    google: Google,
    sender: GmailSender,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
    call: Call,
    recipient: str,
    subject: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    """S09: and the log says why, without a secret."""
    google.usual = answer

    assert call(sender) is False
    assert "FAILED_" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(("call", "recipient", "subject", "words"), _CALLS)
def test_each_call_says_false_when_the_server_is_down(
    google: Google, sender: GmailSender, call: Call, recipient: str, subject: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """S09."""
    google.stop()

    assert call(sender) is False


def test_a_dead_sign_in_is_false(google: Google, sender: GmailSender) -> None:
    """S09."""
    google.revoke()
    google.token_answer = refuses_the_grant

    assert sender.send_email(ANA, "Hello", "Hello") is False


def test_an_access_token_that_went_stale_is_renewed_and_the_mail_goes_out(google: Google, sender: GmailSender) -> None:
    """S03: nobody else is there to make the new attempt."""
    google.access_tokens.clear()

    assert sender.send_email(ANA, "Hello", "Hello") is True
    assert len(google.token_requests) == 1
    assert len(google.posts) == 2


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ana",
        "ana@",
        "@uni.example",
        "ana@uni.example, eve@elsewhere.example",
        "ana@uni.example\r\nBcc: eve@elsewhere.example",
        "Ana <ana@uni.example>",
        "ana@uni.example\x00",
        "ana@uni.example\n",
        "änä@uni.example",
        "a" * 300 + "@uni.example",
        "\ud800@uni.example",
        None,
        5,
        ["ana@uni.example"],
    ],
)
def test_what_is_no_mail_address_is_false_and_asks_nobody(google: Google, sender: GmailSender, address: Any) -> None:
    """S09, X11."""
    assert sender.send_email(address, "Hello", "Hello") is False
    assert sender.notify_new_job(address, "survey", ANA) is False
    assert sender.notify_job_approved(address, "survey") is False
    assert sender.notify_job_executed(address, "survey") is False
    assert sender.notify_new_peer_request_to_do(address, ANA) is False
    assert sender.notify_peer_request_sent(address, OWNER) is False
    assert sender.notify_peer_request_granted(address, OWNER) is False
    assert google.posts == []


@pytest.mark.parametrize(
    "evil",
    [
        "x\r\nBcc: eve@elsewhere.example\r\n\r\nhello",
        "x\nBcc: eve@elsewhere.example",
        "x\x00\x1b[2J\u202e",
        "x\u2028Bcc: eve@elsewhere.example",
        "\ud800 broken",
        "{{ 7 * 7 }}<script>alert(1)</script>",
        "=?utf-8?q?=0D=0ABcc=3A_eve?=",
        "long " * 2000,
    ],
)
def test_nothing_in_a_name_or_a_subject_becomes_a_header_or_markup(
    google: Google, sender: GmailSender, evil: str
) -> None:
    """X11."""
    assert sender.send_email(ANA, evil, "Hello") is True
    assert sender.notify_new_job(OWNER, evil, evil) is True
    assert sender.notify_job_executed(ANA, evil, 1, None) is True

    for post in google.posts:
        assert "Bcc" not in post.mail
        assert post.subject.isprintable()
        assert len(post.subject) < 400
        assert "49" not in post.text
    for post in google.posts[1:]:
        assert "<script" not in post.html
        assert "\x1b" not in post.html + post.text


@pytest.mark.parametrize(
    "call",
    [
        lambda sender: sender.send_email(ANA, None, "Hello"),
        lambda sender: sender.send_email(ANA, "Hello", None),
        lambda sender: sender.send_email(ANA, "Hello", b"bytes"),
        lambda sender: sender.send_email(ANA, "Hello", "Hello", 5),
        lambda sender: sender.send_email(ANA, "Hello", "\ud800"),
        lambda sender: sender.send_email(ANA, "Hello", "Hello", "<p>\ud800</p>"),
        lambda sender: sender.notify_new_job(OWNER, None, ANA, "yesterday"),
        lambda sender: sender.notify_new_job(OWNER, "survey", ANA, object()),
        lambda sender: sender.notify_job_executed(ANA, "survey", "long"),
        lambda sender: sender.notify_job_executed(ANA, "survey", float("nan")),
        lambda sender: sender.notify_job_executed(ANA, "survey", float("inf")),
        lambda sender: sender.notify_job_executed(ANA, 5, -5, 5),
    ],
)
def test_whatever_is_handed_in_the_answer_is_true_or_false(
    google: Google, sender: GmailSender, call: Callable[[GmailSender], object]
) -> None:
    """S09."""
    said = call(sender)

    assert isinstance(said, bool)
    assert len(google.posts) == said


def test_an_endpoint_to_which_the_token_must_not_travel_is_refused_when_the_sender_is_made(
    google: Google, tmp_path: Path
) -> None:
    """S02."""
    credentials = GmailAuth().load_credentials(google.write_token(tmp_path / "gmail_token.json"))

    with pytest.raises(ConfigError):
        GmailSender(credentials, api_endpoint="http://mail.example")


_SIGNATURES = {
    "notify_new_job": "do_email: str, job_name: str, submitter: str, timestamp: datetime | None = None, "
    "job_url: str | None = None",
    "notify_job_approved": "ds_email: str, job_name: str, job_url: str | None = None",
    "notify_job_executed": "ds_email: str, job_name: str, duration: int | None = None, results_url: str | None = None",
    "notify_new_peer_request_to_do": "do_email: str, ds_email: str, peer_url: str | None = None",
    "notify_peer_request_sent": "ds_email: str, do_email: str",
    "notify_peer_request_granted": "ds_email: str, do_email: str",
    "send_email": "to_email: str, subject: str, body_text: str, body_html: str | None = None",
}


@pytest.mark.parametrize(("name", "arguments"), _SIGNATURES.items())
def test_the_calls_take_what_is_documented_in_that_order(name: str, arguments: str) -> None:
    """S05, S06, S07, S08."""
    signature = str(inspect.signature(getattr(GmailSender, name))).replace("'", "")

    assert signature == f"(self, {arguments}) -> bool"


def test_the_sender_is_made_as_documented() -> None:
    """S04."""
    parameters = list(inspect.signature(GmailSender).parameters.values())

    assert [(item.name, item.default) for item in parameters[:2]] == [
        ("credentials", inspect.Parameter.empty),
        ("use_html", True),
    ]
    assert all(item.kind is inspect.Parameter.KEYWORD_ONLY for item in parameters[2:])


# -- templates ---------------------------------------------------------------------------------------------------

_CONTEXTS: dict[str, dict[str, Any]] = {
    "new_job": {"job_name": "analysis_job", "submitter": ANA, "timestamp": WHEN},
    "job_approved": {"job_name": "analysis_job"},
    "job_executed": {"job_name": "analysis_job", "duration": 8130},
    "new_peer_request": {"ds_email": ANA},
    "peer_granted": {"do_email": OWNER},
    "peer_request_sent": {"do_email": OWNER},
}


@pytest.mark.parametrize("kind", ["html", "txt"])
@pytest.mark.parametrize(("name", "context"), _CONTEXTS.items())
def test_the_built_in_templates_render_with_the_documented_context_alone(
    name: str, context: dict[str, Any], kind: str
) -> None:
    """S10, S11."""
    text = TemplateRenderer().render(f"emails/{name}.{kind}", context)

    assert next(iter(context.values())) in text
    assert "None" not in text
    assert "Undefined" not in text
    assert ("</html>" in text) is (kind == "html")


@pytest.mark.parametrize("name", ["new_job", "job_approved", "job_executed", "new_peer_request", "peer_granted"])
def test_a_link_that_is_not_given_is_left_out(name: str) -> None:
    """S10: and one that is given is there."""
    renderer = TemplateRenderer()
    url = "https://box.example/somewhere"
    with_links = {**_CONTEXTS[name], "job_url": url, "results_url": url, "peer_url": url}

    assert "href" not in renderer.render(f"emails/{name}.html", _CONTEXTS[name])
    if name != "peer_granted":  # nothing is to be seen there
        assert url in renderer.render(f"emails/{name}.html", with_links)


@pytest.mark.parametrize("path", sorted((built_in_folder() / "emails").iterdir()), ids=lambda path: path.name)
def test_every_built_in_template_renders_with_nothing_at_all(path: Path) -> None:
    """S10: an absent variable is an absent line."""
    text = TemplateRenderer().render(f"emails/{path.name}", {})

    assert "Undefined" not in text
    assert "None" not in text


def test_what_stands_in_a_name_is_shown_and_not_obeyed() -> None:
    """X11."""
    html = TemplateRenderer().render("emails/new_job.html", {"job_name": "<b>x</b>", "submitter": "{{ 7 * 7 }}"})

    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "{{ 7 * 7 }}" in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2024, 1, 15, 15, 30, tzinfo=UTC), "January 15, 2024 at 03:30 PM"),
        (datetime(2024, 1, 15, 15, 30), "January 15, 2024 at 03:30 PM"),  # noqa: DTZ001 - users hand in such ones
        (datetime(2024, 12, 1, 0, 5, tzinfo=UTC), "December 01, 2024 at 12:05 AM"),
        (datetime(2024, 6, 30, 12, 0, tzinfo=UTC), "June 30, 2024 at 12:00 PM"),
        ("2024-01-15T15:30:00+00:00", "January 15, 2024 at 03:30 PM"),
        ("2024-01-15T15:30:00Z", "January 15, 2024 at 03:30 PM"),
        ("yesterday", "yesterday"),
        (None, ""),
    ],
)
def test_the_datetime_filter_writes_a_moment_as_documented(tmp_path: Path, value: Any, shown: str) -> None:
    """S12."""
    (tmp_path / "mine.txt").write_text("{{ value|datetime }}", encoding="utf-8")

    assert TemplateRenderer(tmp_path).render("mine.txt", {"value": value}) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8130, "2 hours 15 minutes 30 seconds"),
        (3661, "1 hour 1 minute 1 second"),
        (60, "1 minute"),
        (3630, "1 hour 30 seconds"),
        (86400, "24 hours"),
        (0, "0 seconds"),
        (0.4, "0 seconds"),
        (59.9, "59 seconds"),
        ("90", "1 minute 30 seconds"),
        ("long", "long"),
        (-5, "0 seconds"),
        (float("inf"), "inf"),
        (None, ""),
    ],
)
def test_the_duration_filter_writes_seconds_as_documented(tmp_path: Path, value: Any, shown: str) -> None:
    """S12."""
    (tmp_path / "mine.txt").write_text("{{ value|duration }}", encoding="utf-8")

    assert TemplateRenderer(tmp_path).render("mine.txt", {"value": value}) == shown


@pytest.mark.parametrize("of", [str, Path])
def test_a_folder_of_ones_own_goes_first_and_the_built_in_one_fills_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: Callable[[str], str | Path]
) -> None:
    """S10: as text or as Path, with `~` expanded."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine" / "emails").mkdir(parents=True)
    (tmp_path / "mine" / "emails" / "new_job.html").write_text("<p>{{ job_name }}!</p>", encoding="utf-8")
    renderer = TemplateRenderer(of("~/mine"))

    assert renderer.render("emails/new_job.html", {"job_name": "a & b"}) == "<p>a &amp; b!</p>"
    assert "analysis_job" in renderer.render("emails/job_approved.html", _CONTEXTS["job_approved"])


def test_a_template_that_does_not_exist_is_said_by_name() -> None:
    """S10."""
    with pytest.raises(jinja2.TemplateNotFound, match="nothing"):
        TemplateRenderer().render("emails/nothing.html", {})


@pytest.mark.parametrize("name", ["../pyproject.toml", "emails/../../pyproject.toml", "/etc/hostname"])
def test_a_template_outside_of_the_folders_is_not_read(name: str) -> None:
    """X11."""
    with pytest.raises(jinja2.TemplateNotFound):
        TemplateRenderer().render(name, {})


ESCAPES = {
    "class": "{{ ''.__class__.__mro__ }}",
    "class alone": "{{ ''.__class__ }}",
    "item": "{{ ''['__class__'] }}",
    "filter": "{{ ''|attr('__class__') }}",
    "format": "{{ '{0.__class__}'.format(1) }}",
    "function": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "loop": "{% for name in job_name.__class__.__subclasses__() %}{{ name }}{% endfor %}",
    "change": "{{ given.append(1) }}",
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_template_that_reaches_for_internals_is_an_error(tmp_path: Path, escape: str) -> None:
    """C7: not an empty text, and nothing is run or changed."""
    (tmp_path / "mine.txt").write_text(escape, encoding="utf-8")
    given: list[int] = []

    with pytest.raises(jinja2.exceptions.SecurityError):
        TemplateRenderer(tmp_path).render("mine.txt", {"job_name": "survey", "given": given})

    assert given == []


# -- the package -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["GmailAuth", "GmailSender", "TemplateRenderer", "JsonStateManager", "JobMonitor", "PeerMonitor"]
)
def test_every_documented_class_comes_from_the_package_itself(name: str) -> None:
    """S18."""
    assert inspect.isclass(getattr(syftnotify, name))
    assert name in syftnotify.__all__
    assert name in dir(syftnotify)


def test_a_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    """S18."""
    with pytest.raises(AttributeError, match="GmailSendr"):
        _ = syftnotify.GmailSendr


def test_importing_the_package_loads_nothing_heavy() -> None:
    """S18: a program that only wants one class does not pay for all."""
    code = (
        "import sys, syftnotify\n"
        "heavy = {'google', 'googleapiclient', 'sqlalchemy', 'jinja2', 'requests', 'yaml', 'httpcore', 'httpx'}\n"
        "heavy.add('pydantic')\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)

    assert done.stdout.strip() == "[]"
