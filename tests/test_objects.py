"""What a program is sent: one JSON object in one of five shapes, with nothing private in it."""

from __future__ import annotations

import itertools
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from syftnotify import __version__
from syftnotify.core.errors import ConfigError, DeliveryError, Failure
from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item, Message
from syftnotify.rendering.links import Links
from syftnotify.services.settings import load
from syftnotify.transports.webhook.renderer import WebhookRenderer
from tests.fakes.web import Web
from tests.support import ANA, OWNER, Box

TOP = Path(__file__).parent.parent
PAGE = (TOP / "docs" / "webhooks.md").read_text(encoding="utf-8")
SHAPES = ["native", "gflow", "nomaflow", "run_alert"]
VARIABLES = ["job_id", "run_id", "state", "error", "started_at", "finished_at", "triggered_by", "url"]
EVERY = "{" + ", ".join(f'"{name}": "${{{name}}}"' for name in VARIABLES) + "}"

WHEN = "2026-01-15T15:30:00Z"
NOTICED = 1_768_500_000.0
NOTICED_AT = "2026-01-15T18:00:00Z"
ENTITY = f"job/D/{OWNER}/{ANA}/survey"
LINKS = Links(job="https://box.example/jobs/{job}")
KNOWN: dict[str, Any] = {
    "name": "survey",
    "submitter": ANA,
    "owner": OWNER,
    "return_code": 3,
    "stderr": "Traceback\nKeyError: 'age'\n",
    "tags": ["team-data", "nightly"],
}
SCHEDULER = {"host": socket.gethostname(), "version": __version__}


def item(
    kind: EventKind = EventKind.JOB_FAILED,
    *,
    at: str = WHEN,
    entity: str = ENTITY,
    is_emitted: bool = False,
    **payload: Any,
) -> Item:
    routing = {"tags": payload.pop("tags")} if "tags" in payload else {}
    event = Event(kind, entity, "T", at, payload, routing, emitted=is_emitted)
    return Item("n1", event, Audience.OWNER, Status.FAILED, NOTICED)


def message(*items: Item, shape: str = "native", template: str = "", digest: str = "") -> Message:
    return WebhookRenderer(shape, links=LINKS, template=template).message(items, "oncall", digest=digest)


def sent(kind: EventKind = EventKind.JOB_FAILED, /, *, shape: str = "native", template: str = "", **more: Any) -> Any:
    """The object that tells of one event."""
    return json.loads(message(item(kind, **more), shape=shape, template=template).body)


def filled(template: str, kind: EventKind = EventKind.JOB_FAILED, /, **more: Any) -> Any:
    """What becomes of an operator's own text, read as JSON."""
    return sent(kind, shape="template", template=template, **more)


def documented(shape: str) -> dict[str, Any]:
    """The keys of a shape as docs/webhooks.md has them."""
    found = re.search(rf"^\| `{shape}` \| `(.+)` \|$", PAGE, re.MULTILINE)
    assert found, shape
    quoted = re.sub(r"\w+", r'"\g<0>"', found.group(1)).replace(" {", ": {")
    return dict(yaml.safe_load("{" + quoted + "}"))


def keys_of(value: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """The keys of `value`, inside those objects that `like` describes, too."""
    return {key: keys_of(inner, like[key]) if like.get(key) else None for key, inner in value.items()}


# -- the shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_has_the_keys_that_the_page_names(shape: str) -> None:
    """N11, G21, A04"""
    times = {"started_at": WHEN, "finished_at": WHEN}
    whole = sent(shape=shape, **KNOWN, **times)

    assert keys_of(whole, documented(shape)) == documented(shape)


def test_our_own_envelope_says_all_that_is_known() -> None:
    """Decision *Body*"""
    public = {name: value for name, value in KNOWN.items() if name != "stderr"}

    assert sent(**KNOWN) == {
        "id": "n1",
        "event": "job_failed",
        "severity": "high",
        "timestamp": WHEN,
        "entity": ENTITY,
        "job": {
            "id": ENTITY,
            "name": "survey",
            "user": ANA,
            "owner": OWNER,
            "state": "FAILED",
            "exit_code": 3,
            "error": "KeyError: 'age'",
            "tags": ["team-data", "nightly"],
        },
        "url": "https://box.example/jobs/survey",
        "scheduler": SCHEDULER,
        "payload": public,
    }


def test_what_is_not_known_is_left_out() -> None:
    plain = WebhookRenderer("native", links=Links()).message(
        [item(EventKind.JOB_UPDATED, entity="run/1", name="")], "oncall"
    )

    assert json.loads(plain.body) == {
        "id": "n1",
        "event": "job_updated",
        "severity": "low",
        "timestamp": WHEN,
        "entity": "run/1",
        "job": {"id": "run/1"},
        "scheduler": SCHEDULER,
        "payload": {"name": ""},
    }


def test_an_event_that_is_of_no_job_has_none() -> None:
    """G17"""
    gpu = sent(EventKind.GPU_AVAILABLE, entity="gpu/0", gpu=0, user="alice")

    assert "job" not in gpu
    assert gpu["payload"] == {"gpu": 0, "user": "alice"}
    assert sent(EventKind.GPU_AVAILABLE, shape="gflow", entity="gpu/0", gpu=0) == {
        "event": "gpu_available",
        "timestamp": WHEN,
        "scheduler": SCHEDULER,
        "gpu": 0,
    }


@pytest.mark.parametrize("shape", [*SHAPES, "template"])
def test_every_kind_of_event_is_an_object_in_every_shape(shape: str) -> None:
    for kind in EventKind:
        assert isinstance(sent(kind, shape=shape, template=EVERY), dict), kind


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (EventKind.JOB_SUBMITTED, "Queued"),
        (EventKind.JOB_STARTED, "Running"),
        (EventKind.JOB_COMPLETED, "Finished"),
        (EventKind.JOB_FAILED, "Failed"),
        (EventKind.JOB_CANCELLED, "Cancelled"),
        (EventKind.JOB_TIMEOUT, "Timeout"),
        (EventKind.JOB_HELD, "Hold"),
        (EventKind.JOB_RELEASED, "Queued"),
    ],
)
def test_gflow_hears_of_a_job_in_its_own_words(kind: EventKind, state: str) -> None:
    """G21"""
    assert sent(kind, shape="gflow", user="alice", job_id=42) == {
        "event": kind.value,
        "timestamp": WHEN,
        "job": {"id": 42, "user": "alice", "state": state},
        "scheduler": SCHEDULER,
    }


@pytest.mark.parametrize(
    ("kind", "state"),
    [(EventKind.JOB_STARTED, "RUNNING"), (EventKind.JOB_COMPLETED, "SUCCEEDED"), (EventKind.JOB_FAILED, "FAILED")],
)
def test_nomaflow_hears_of_a_run_in_its_own_words(kind: EventKind, state: str) -> None:
    """N11"""
    told = sent(kind, shape="nomaflow", name="nightly", run_id="r7", user="alice", error="disk full")
    moment = {"started_at": WHEN} if kind is EventKind.JOB_STARTED else {"finished_at": WHEN}

    assert told == {
        "job_id": "nightly",
        "run_id": "r7",
        "state": state,
        "triggered_by": "alice",
        "error": "disk full",
        "url": "https://box.example/jobs/nightly",
        **moment,
    }


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (EventKind.JOB_FAILED, "failed", 3),
        (EventKind.JOB_TIMEOUT, "timed_out", -1),
        (EventKind.JOB_COMPLETED, "succeeded", 0),
    ],
)
def test_an_alert_has_the_run_the_job_the_status_and_the_exit_code(kind: EventKind, status: str, code: int) -> None:
    """A04: 0 is a code like any other."""
    told = sent(kind, shape="run_alert", run_id="r7", name="survey", return_code=code)

    assert told == {"run_id": "r7", "job_name": "survey", "status": status, "exit_code": code}


@pytest.mark.parametrize("shape", ["nomaflow", "run_alert"])
def test_a_run_that_nobody_named_has_one_name_all_the_same(shape: str) -> None:
    """A04: a program tells by it what belongs together."""
    long, over = (
        sent(kind, shape=shape, **KNOWN)["run_id"] for kind in (EventKind.JOB_LONG_RUNNING, EventKind.JOB_FAILED)
    )

    assert long == over
    assert sent(shape=shape, entity="job/else", **KNOWN)["run_id"] != over


@pytest.mark.parametrize("shape", ["gflow", "nomaflow"])
def test_a_job_whose_number_is_zero_keeps_it(shape: str) -> None:
    told = sent(shape=shape, job_id=0, name="first")

    assert (told["job"]["id"] if shape == "gflow" else told["job_id"]) == 0


# -- what never leaves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("emitted", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, "template"])
def test_code_and_stderr_never_leave_but_for_the_last_line(shape: str, emitted: bool) -> None:
    """G25"""
    private = {
        "code": [{"path": "main.py", "text": "PRIVATE = 1", "cut": False}],
        "code_left_out": [{"path": "PRIVATE.bin", "why": "binary"}],
        "stderr": "PRIVATE row\nKeyError: 'age'\n",
        "stderr_cut": True,
    }
    template = '{"all": {{ [job, payload, scheduler] | tojson }}, "error": "${error}"}'
    body = message(item(**{**KNOWN, **private}, is_emitted=emitted), shape=shape, template=template).body

    assert b"PRIVATE" not in body
    assert (b"KeyError: 'age'" in body) == (shape in {"native", "nomaflow", "template"})


# -- times -------------------------------------------------------------------------------------------------------------

TIMES = [
    ("2026-01-15T15:30:00Z", WHEN),
    ("2026-01-15T16:30:00+01:00", WHEN),
    ("2026-01-15T10:00:00-05:30", WHEN),
    ("2026-01-15T15:30:00", WHEN),
    ("2026-01-15 15:30", WHEN),
    ("2026-01-15T15:30:00.123456Z", "2026-01-15T15:30:00.123Z"),
    ("", NOTICED_AT),
    ("yesterday", NOTICED_AT),
    ("0001-01-01T00:00:00+14:00", NOTICED_AT),
]


@pytest.mark.parametrize(("at", "stamp"), TIMES)
@pytest.mark.parametrize("shape", ["native", "gflow"])
def test_a_moment_is_told_in_utc_and_else_when_it_was_noticed(shape: str, at: str, stamp: str) -> None:
    """G21"""
    assert sent(shape=shape, at=at)["timestamp"] == stamp


@pytest.mark.parametrize(("at", "stamp"), TIMES[:4])
@pytest.mark.parametrize("name", ["started_at", "finished_at"])
def test_the_moments_of_a_run_are_told_in_utc_too(name: str, at: str, stamp: str) -> None:
    """N11: docs/webhooks.md says that times are."""
    assert sent(shape="nomaflow", **{name: at})[name] == stamp
    assert filled(EVERY, **{name: at})[name] == stamp


# -- an operator's own text: ${...} ------------------------------------------------------------------------------------


def test_every_variable_has_its_value() -> None:
    """N10"""
    more = {"run_id": "r7", "started_at": WHEN, "triggered_by": "cron"}

    assert filled(EVERY, **KNOWN, **more) == {
        "job_id": "survey",
        "run_id": "r7",
        "state": "FAILED",
        "error": "KeyError: 'age'",
        "started_at": WHEN,
        "finished_at": WHEN,
        "triggered_by": "cron",
        "url": "https://box.example/jobs/survey",
    }


def test_a_variable_is_empty_where_nothing_is_known() -> None:
    plain = WebhookRenderer("template", links=Links(), template=EVERY).message(
        [item(EventKind.JOB_UPDATED, entity="x")], "oncall"
    )
    told = json.loads(plain.body)

    assert {name for name, value in told.items() if value} == {"job_id", "run_id", "state"}
    assert told["job_id"] == "x"


HOSTILE = [
    'he said "no"',
    "back\\slash\\",
    "a\nb\r\tc\0d",
    "{{ 7*7 }}",
    "{% raw %}",
    "{# gone? #}",
    "${run_id}",
    "$${state}",
    '", "admin": true, "x": "',
    "</script>\u2028\u202e",
    "lone \ud800 and \udc80",
    "žluť ☃ 😀",
    "\\u0022",
    "x" * 5000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=itertools.count())
def test_a_value_stays_inside_its_string_and_is_not_evaluated(value: str) -> None:
    """X11"""
    told = filled('{"a": "${job_id}", "b": "${triggered_by}", "c": "end"}', name=value, submitter=value)

    assert told == {"a": value, "b": value, "c": "end"}


def joined(text: str) -> str:
    """`text` with halves of characters that stand side by side made whole, as a reader of JSON does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


ANY_TEXT = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=60)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_whatever_a_job_is_called_the_object_can_be_read(name: str, user: str, error: str) -> None:
    """X11"""
    told = filled(EVERY, name=name, submitter=user, error=error)
    native = sent(name=name, submitter=user, error=error)

    assert (told["job_id"], told["triggered_by"]) == (joined(name), joined(user))
    assert (native["job"]["name"], native["job"]["user"]) == (joined(name), joined(user))
    assert told.keys() == set(VARIABLES)


@pytest.mark.parametrize("value", [42, 1.5, True, ["a", '"'], {"a": '"'}])
def test_a_value_that_is_no_text_stays_inside_its_string_too(value: Any) -> None:
    assert filled('{"a": "${job_id}"}', job_id=value) == {"a": str(value)}


# -- an operator's own text: Jinja -------------------------------------------------------------------------------------


def test_jinja_puts_in_whatever_is_no_text() -> None:
    told = filled(
        '{"id": {{ id | tojson }}, "host": {{ scheduler.host | tojson }}, "all": {{ payload | tojson }}}', n=1
    )

    assert told == {"id": "n1", "host": SCHEDULER["host"], "all": {"n": 1}}


@pytest.mark.parametrize("name", HOSTILE, ids=itertools.count())
def test_tojson_quotes_what_is_hostile(name: str) -> None:
    """X11"""
    assert filled('{"a": {{ payload | tojson }}}', name=name)["a"]["name"] == name


def examples() -> list[str]:
    """The texts that the documentation shows."""
    config = (TOP / "config.example.yaml").read_text(encoding="utf-8")
    whole = re.findall(r"^\s+body: '(\{.+\})'$", config, re.MULTILINE)
    return [*whole, *(f'{{"x": {part}}}' for part in re.findall(r"`(\{\{.+?\}\})`", PAGE))]


@pytest.mark.parametrize("template", examples())
@pytest.mark.parametrize("tags", [["team-data"], None])
def test_the_texts_that_the_documentation_shows_can_be_used(template: str, tags: list[str] | None) -> None:
    told = filled(template, name="survey", tags=tags)

    assert (["team-data"] in told.values()) == bool(tags and "tags" in template)


FIELDS = [
    name if not inner else f"{name}.{each}"
    for name, inner in documented("native").items()
    for each in (inner or [""])
    if name != "payload"
]


@pytest.mark.parametrize("field", FIELDS)
def test_jinja_knows_every_field_of_the_envelope(field: str) -> None:
    first, _, second = field.partition(".")
    whole = sent(**KNOWN)[first]

    assert filled(f'{{"x": {{{{ {field} | tojson }}}}}}', **KNOWN)["x"] == (whole[second] if second else whole)


@pytest.mark.parametrize("kind", [EventKind.JOB_UPDATED, EventKind.GPU_AVAILABLE])
def test_a_field_that_one_event_lacks_keeps_no_event_from_being_told(kind: EventKind) -> None:
    """docs/webhooks.md: what is not known is left out."""
    template = " ".join(f"{{{{ {field} or '-' }}}}" for field in FIELDS)
    words = WebhookRenderer("template", links=LINKS, template=template, is_json=False)

    assert b"-" in words.message([item(kind, entity="x")], "oncall").body


REFUSED = [
    ("${nothing}", ["nothing", "job_id", "started_at", "severity"]),
    ("{{ nothing }}", ["nothing", "run_id"]),
    ("{{ nothing | tojson }}", ["nothing", "run_id"]),
    ("{% if x", ["line 1"]),
    ('{\n"a": {{ }}\n}', ["line 2"]),
    ("{{ id | upcase }}", ["upcase"]),
    ("{{ 1 / 0 }}", ["zero"]),
    ("{% include 'secret.key' %}", []),
    ("{% for n in range(1000000000) %}x{% endfor %}", ["Range too big"]),
    ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", []),
]
ESCAPES = [
    "{{ ''.__class__.__mro__ }}",
    "{{ ''['__class__'] }}",
    "{{ job | attr('__class__') }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ (job.update or x).__globals__ }}",
    "{{ payload.clear() }}{{ payload.__init__ }}",
]


@pytest.mark.parametrize(("template", "words"), REFUSED)
def test_a_text_that_cannot_be_is_refused_at_once(template: str, words: list[str]) -> None:
    """And what could stand there instead is named."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        WebhookRenderer("template", links=LINKS, template=template)

    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("template", ESCAPES)
def test_a_text_cannot_leave_its_sandbox(template: str) -> None:
    """X11"""
    with pytest.raises(ValueError, match=r"\w"):
        WebhookRenderer("template", links=LINKS, template=template)


# -- at load -----------------------------------------------------------------------------------------------------------


def hooked(box: Box, **settings: dict[str, Any]) -> None:
    """Webhooks of these names and settings, beside a Maildir."""
    hooks = {name: {"type": "webhook", "url": "https://hooks.example/x", **more} for name, more in settings.items()}
    box.configure({"transports": {"box": {"type": "maildir"}, **hooks}})


@pytest.mark.parametrize(
    "settings",
    [
        {"body": "{}"},
        {"body": "{}", "format": "native"},
        {"format": "template"},
        {"format": "template", "body": None},
    ],
)
def test_a_text_and_the_format_that_says_so_belong_together(box: Box, settings: dict[str, Any]) -> None:
    hooked(box, oncall=settings)
    with pytest.raises(ConfigError) as caught:
        load(box.home)

    assert "transports.oncall: `body` and `format: template` belong together" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"format": "tempalte", "body": "{}"}, "transports.oncall.format"),
        ({"format": "template", "body": 5}, "transports.oncall.body"),
        ({"format": "template", "body": {"a": 1}}, "transports.oncall.body"),
    ],
)
def test_a_format_that_there_is_not_is_told_by_its_path(box: Box, settings: dict[str, Any], path: str) -> None:
    hooked(box, oncall=settings)
    with pytest.raises(ConfigError) as caught:
        load(box.home)

    assert path in str(caught.value)


@pytest.mark.parametrize("command", [("start",), ("run", "--once"), ("doctor",)])
def test_a_wrong_text_is_told_before_anything_is_sent(box: Box, command: tuple[str, ...]) -> None:
    """And which webhook's it is, of each that is wrong."""
    hooked(
        box,
        pager={"format": "template", "body": '{"a": "${nothing}"}'},
        oncall={"format": "template", "body": "{% if"},
        good={"format": "template", "body": '{"a": "${job_id}"}'},
    )
    done = box.notify(*command, check=1 if command == ("doctor",) else 2)
    said = done.stdout + done.stderr

    assert "Traceback" not in said
    assert all(word in said for word in ("pager", "oncall", "nothing", "job_id")), said
    assert not box.home.outbox.exists()


# -- several at once ---------------------------------------------------------------------------------------------------


def test_several_are_a_list_in_their_order_under_one_id() -> None:
    several = message(*(item(entity=f"run/{n}") for n in range(3)), digest="d1")

    assert [each["entity"] for each in json.loads(several.body)] == ["run/0", "run/1", "run/2"]
    assert several.id == "d1"
    assert isinstance(json.loads(message(item(), digest="d1").body), list)


@pytest.mark.parametrize("is_json", [True, False])
def test_several_in_ones_own_text_are_a_list_or_a_line_each(is_json: bool) -> None:
    """C8: a list where JSON is expected."""
    items = [item(entity=f"run/{n}", name=f"line\n{n}") for n in range(3)]
    words = WebhookRenderer("template", links=LINKS, template='{"a": "${job_id}"}', is_json=is_json)
    body = words.message(items, "oncall", digest="d1").body

    told = json.loads(body) if is_json else [json.loads(line) for line in body.splitlines()]
    assert [each["a"] for each in told] == ["line\n0", "line\n1", "line\n2"]


# -- output that is no JSON --------------------------------------------------------------------------------------------

INJECTABLE = [
    '{"a": "{{ job.name }}"}',
    '{"a": "{{ job.error }}"}',
    '{"a": "{{ payload.note }}"}',
    '{"a": "{{ job.tags }}"}',
    '{"a": "{{ entity }}"}',
    '{"a": "{{ job.user or "nobody" }}"}',
    """{"a": "{{ job.name | replace('"', '') }}"}""",
    '{"a": "{{ job.name | e }}"}',
    '{"a": {{ payload.count }}}',
    '{"a": {{ job.exit_code }}}',
    '{% if event == "job_submitted" %}{"t": "{{ job.name }}"}{% else %}{"t": 1}{% endif %}',
    '{% if event == "gpu_available" %}{"t": "{{ entity }}"}{% endif %}',
    """{"x": "{{ payload.get('x', '') }}"}""",
    '{"x": {% if "x" in payload %}"{{ payload.x }}"{% else %}1{% endif %}}',
]


@pytest.mark.parametrize("template", INJECTABLE)
def test_template_that_escapes_nothing_is_warned_of_at_load(template: str) -> None:
    """C8: and the filter that does is named."""
    assert "tojson" in WebhookRenderer("template", links=LINKS, template=template).warning
    assert not WebhookRenderer("template", links=LINKS, template=template, is_json=False).warning


@pytest.mark.parametrize("template", [EVERY, '{"a": {{ job.name | tojson }}, "b": {{ payload.x | tojson }}}', "[]"])
def test_template_that_escapes_everything_is_not_warned_of(template: str) -> None:
    """C8"""
    assert not WebhookRenderer("template", links=LINKS, template=template).warning


@pytest.mark.parametrize("template", ["", "job {{ id }}", '{"a": {{ job.name | tojson }}', '{"a": NaN}', "{'a': 1}"])
def test_template_that_is_never_json_is_refused(template: str) -> None:
    """C8"""
    with pytest.raises(ValueError, match="not valid JSON"):
        WebhookRenderer("template", links=LINKS, template=template)


def test_template_for_one_kind_alone_is_accepted() -> None:
    """C8: routes may send it nothing else."""
    template = '{% if event == "job_submitted" %}{"t": {{ job.name | tojson }}}{% endif %}'

    assert not WebhookRenderer("template", links=LINKS, template=template).warning


def test_template_may_go_through_tags_that_are_missing() -> None:
    """C8"""
    template = '[{% for t in job.tags %}{{ t | tojson }}{{ "" if loop.last else "," }}{% endfor %}]'

    words = WebhookRenderer("template", links=LINKS, template=template)

    assert not words.warning
    assert json.loads(words.message([item()], "oncall").body) == []
    with pytest.raises(ValueError, match="a value may be missing; write"):
        WebhookRenderer("template", links=LINKS, template="[{% for t in payload.x %}1{% endfor %}]")


def test_output_that_is_not_json_is_refused_with_the_reason() -> None:
    """C8"""
    words = WebhookRenderer("template", links=LINKS, template='{"a": "{{ job.name }}"}')
    with pytest.raises(DeliveryError, match="not valid JSON") as caught:
        words.message([item(name='x" , y')], "oncall")

    assert caught.value.failure is Failure.PERMANENT
    assert json.loads(words.message([item(name="x")], "oncall").body) == {"a": "x"}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded; charset=utf-8"])
def test_template_for_another_content_type_is_not_checked(box: Box, hook: Web, kind: str) -> None:
    """C8"""
    settings = {"format": "template", "body": "{{ job.name }}", "headers": {"Content-Type": kind}}
    box.configure({"transports": {"box": {"type": "maildir"}, "oncall": {**settings, **oncall(hook)}}})
    emit(box, 'x" \\ y')
    box.look()

    assert [request.body for request in hook.requests] == [b'x" \\ y']


def test_output_that_is_not_json_becomes_a_dead_letter_and_is_not_sent(box: Box, hook: Web) -> None:
    """C8"""
    settings = {"format": "template", "body": '{"a": "{{ job.name }}"}', **oncall(hook)}
    box.configure({"transports": {"box": {"type": "maildir"}, "oncall": settings}})
    emit(box, 'x", "admin')
    emit(box, "good")
    box.look()

    assert [request.json for request in hook.requests] == [{"a": "good"}]
    assert "not valid JSON" in box.notify("dead", check=0).stdout.replace("\n", " ")
    assert "tojson" in " ".join(box.notify("doctor").stdout.split())
    assert "tojson" in " ".join(box.notify("run", "--once").stderr.split())


def oncall(hook: Web) -> dict[str, Any]:
    return {"type": "webhook", "url": hook.url, "events": ["job_failed"], "to": ["oncall"]}


def emit(box: Box, name: str) -> None:
    box.notify("emit", "job_failed", "--entity", "run/1", "--key", name, "--payload", json.dumps({"name": name}))


def test_an_object_is_utf8_without_needless_blanks() -> None:
    body = message(item(name="žluť")).body

    assert "žluť" in body.decode("utf-8")
    assert json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":")) == body.decode("utf-8")
