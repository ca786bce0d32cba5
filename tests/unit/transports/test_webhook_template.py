"""Templates of webhook bodies: variables, Jinja, sandbox, JSON checks."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.kinds import EventKind
from syftnotify.rendering.links import Links
from syftnotify.transports.webhook.renderer import WebhookRenderer
from tests.support import PROJECT_ROOT
from tests.unit.transports.webhook_items import (
    ALL_VARIABLES,
    LINKS,
    PAGE,
    PAYLOAD,
    SCHEDULER,
    WHEN,
    documented,
    item,
    rendered,
    rendered_template,
)


def test_template_variables_have_their_values() -> None:
    """N10"""
    more = {"run_id": "r7", "started_at": WHEN, "triggered_by": "cron"}

    assert rendered_template(ALL_VARIABLES, **PAYLOAD, **more) == {
        "job_id": "survey",
        "run_id": "r7",
        "state": "FAILED",
        "error": "KeyError: 'age'",
        "started_at": WHEN,
        "finished_at": WHEN,
        "triggered_by": "cron",
        "url": "https://box.example/jobs/survey",
    }


def test_template_variables_without_a_value_are_empty() -> None:
    plain = WebhookRenderer("template", links=Links(), template=ALL_VARIABLES).message(
        [item(EventKind.JOB_UPDATED, entity="x")], "oncall"
    )
    result = json.loads(plain.body)

    assert {name for name, value in result.items() if value} == {"job_id", "run_id", "state"}
    assert result["job_id"] == "x"


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
def test_template_variable_is_quoted_and_not_evaluated(value: str) -> None:
    """X11"""
    result = rendered_template('{"a": "${job_id}", "b": "${triggered_by}", "c": "end"}', name=value, submitter=value)

    assert result == {"a": value, "b": value, "c": "end"}


@pytest.mark.parametrize("value", [42, 1.5, True, ["a", '"'], {"a": '"'}])
def test_template_variable_that_is_no_text_is_quoted(value: Any) -> None:
    assert rendered_template('{"a": "${job_id}"}', job_id=value) == {"a": str(value)}


def test_template_tojson_renders_any_value() -> None:
    result = rendered_template(
        '{"id": {{ id | tojson }}, "host": {{ scheduler.host | tojson }}, "all": {{ payload | tojson }}}', n=1
    )

    assert result == {"id": "n1", "host": SCHEDULER["host"], "all": {"n": 1}}


@pytest.mark.parametrize("name", HOSTILE, ids=itertools.count())
def test_template_tojson_quotes_hostile_text(name: str) -> None:
    """X11"""
    assert rendered_template('{"a": {{ payload | tojson }}}', name=name)["a"]["name"] == name


def examples() -> list[str]:
    """The texts that the documentation shows."""
    config = (PROJECT_ROOT / "config.example.yaml").read_text(encoding="utf-8")
    whole = re.findall(r"^\s+body: '(\{.+\})'$", config, re.MULTILINE)
    return [*whole, *(f'{{"x": {part}}}' for part in re.findall(r"`(\{\{.+?\}\})`", PAGE))]


@pytest.mark.parametrize("template", examples())
@pytest.mark.parametrize("tags", [["team-data"], None])
def test_template_examples_of_the_documentation_render(template: str, tags: list[str] | None) -> None:
    result = rendered_template(template, name="survey", tags=tags)

    assert (["team-data"] in result.values()) == bool(tags and "tags" in template)


FIELDS = [
    name if not inner else f"{name}.{each}"
    for name, inner in documented("native").items()
    for each in (inner or [""])
    if name != "payload"
]


@pytest.mark.parametrize("field", FIELDS)
def test_template_has_every_field_of_the_native_object(field: str) -> None:
    first, _, second = field.partition(".")
    whole = rendered(**PAYLOAD)[first]

    assert rendered_template(f'{{"x": {{{{ {field} | tojson }}}}}}', **PAYLOAD)["x"] == (
        whole[second] if second else whole
    )


@pytest.mark.parametrize("kind", [EventKind.JOB_UPDATED, EventKind.GPU_AVAILABLE])
def test_template_with_missing_fields_renders(kind: EventKind) -> None:
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
def test_template_that_is_invalid_is_refused_with_the_reason(template: str, words: list[str]) -> None:
    """And what could stand there instead is named."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        WebhookRenderer("template", links=LINKS, template=template)

    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("template", ESCAPES)
def test_template_cannot_escape_the_sandbox(template: str) -> None:
    """X11"""
    with pytest.raises(ValueError, match=r"\w"):
        WebhookRenderer("template", links=LINKS, template=template)


@pytest.mark.parametrize("is_json", [True, False])
def test_template_digest_is_a_list_or_one_line_each(is_json: bool) -> None:
    """C8: a list where JSON is expected."""
    items = [item(entity=f"run/{n}", name=f"line\n{n}") for n in range(3)]
    words = WebhookRenderer("template", links=LINKS, template='{"a": "${job_id}"}', is_json=is_json)
    body = words.message(items, "oncall", digest="d1").body

    result = json.loads(body) if is_json else [json.loads(line) for line in body.splitlines()]
    assert [each["a"] for each in result] == ["line\n0", "line\n1", "line\n2"]


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
def test_template_without_escaping_has_a_warning(template: str) -> None:
    """C8: and the filter that does is named."""
    assert "tojson" in WebhookRenderer("template", links=LINKS, template=template).warning
    assert not WebhookRenderer("template", links=LINKS, template=template, is_json=False).warning


@pytest.mark.parametrize(
    "template", [ALL_VARIABLES, '{"a": {{ job.name | tojson }}, "b": {{ payload.x | tojson }}}', "[]"]
)
def test_template_with_escaping_has_no_warning(template: str) -> None:
    """C8"""
    assert not WebhookRenderer("template", links=LINKS, template=template).warning


@pytest.mark.parametrize("template", ["", "job {{ id }}", '{"a": {{ job.name | tojson }}', '{"a": NaN}', "{'a': 1}"])
def test_template_that_is_never_json_is_refused(template: str) -> None:
    """C8"""
    with pytest.raises(ValueError, match="not valid JSON"):
        WebhookRenderer("template", links=LINKS, template=template)


def test_template_for_one_event_kind_is_accepted() -> None:
    """C8: routes may send it nothing else."""
    template = '{% if event == "job_submitted" %}{"t": {{ job.name | tojson }}}{% endif %}'

    assert not WebhookRenderer("template", links=LINKS, template=template).warning


def test_template_may_iterate_over_missing_tags() -> None:
    """C8"""
    template = '[{% for t in job.tags %}{{ t | tojson }}{{ "" if loop.last else "," }}{% endfor %}]'

    words = WebhookRenderer("template", links=LINKS, template=template)

    assert not words.warning
    assert json.loads(words.message([item()], "oncall").body) == []
    with pytest.raises(ValueError, match="a value may be missing; write"):
        WebhookRenderer("template", links=LINKS, template="[{% for t in payload.x %}1{% endfor %}]")


def test_template_output_that_is_not_json_is_permanent() -> None:
    """C8"""
    words = WebhookRenderer("template", links=LINKS, template='{"a": "{{ job.name }}"}')
    with pytest.raises(DeliveryError, match="not valid JSON") as caught:
        words.message([item(name='x" , y')], "oncall")

    assert caught.value.failure is Failure.PERMANENT
    assert json.loads(words.message([item(name="x")], "oncall").body) == {"a": "x"}
