"""Previews of mails: sample events of each kind, rendered with the templates of a home."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

from syftnotify.core.errors import ConfigError, NotifyError, UnknownKindError
from syftnotify.core.kinds import Audience, EventKind, parse_kind
from syftnotify.core.models import Message
from syftnotify.core.ports import Renderer
from syftnotify.core.text import did_you_mean, escape
from syftnotify.rendering.email import DIGEST_TEMPLATE, GENERAL_TEMPLATE, EmailRenderer, template_for
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import (
    TEMPLATE_ERRORS,
    TemplateRenderer,
    built_in_folder,
    cached_renderer,
    template_error,
)
from syftnotify.services.samples import OWNER, Sample, SampleType, all_samples, audiences_of, sample
from syftnotify.services.settings import load
from syftnotify.services.transports import build_renderer
from syftnotify.system.ownership import check_config, check_home
from syftnotify.system.paths import Home

# The templates of single event kinds, by kind and audience.
_TEMPLATES = {
    (kind, audience): template
    for kind in EventKind
    for audience in (Audience.OWNER, Audience.SUBMITTER)
    if (template := template_for(kind, audience)) != GENERAL_TEMPLATE
}
# Templates of no single event kind, with an example.
_SHARED_TEMPLATES = {
    DIGEST_TEMPLATE: (EventKind.DIGEST, Audience.OWNER),
    GENERAL_TEMPLATE: (EventKind.JOB_HELD, Audience.RECIPIENT),
}


_SAMPLE_LINKS = Links("https://box.example/{job}", "https://box.example/{job}/results", "https://box.example/{peer}")
_GALLERY = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Mails of syftnotify</title></head>
<body style="font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; line-height: 1.5">
<main><h1>Mails of syftnotify</h1>
<p>Rendered with your configuration and templates, about made-up events.</p>
{sections}
</main></body>
</html>
"""
_HOSTILE_TITLE = "With names and content of an attacker, which must be shown without any effect"
_GALLERY_TITLES = {
    Audience.OWNER: "To the data owner",
    Audience.SUBMITTER: "To the scientist",
    Audience.OPERATOR: "To operators",
    Audience.RECIPIENT: "To recipients that the configuration names",
    Audience.JOB_REQUESTED: "To recipients that a job names",
}


@dataclass(frozen=True, slots=True)
class Preview:
    """A mail about a sample."""

    sample: Sample
    message: Message


def previews(home: Home, name: str) -> list[Preview]:
    """The mails of a template or an event kind, as the configuration of `home` renders them.

    Raises:
        NotifyError: there is no such template or event kind, or a template is wrong.
        ConfigError: the configuration has mistakes.
        UnsafeHomeError: others can change the templates.
    """
    check_home(home)
    check_config(home)
    chosen = _kinds_and_audiences(name)
    renderer = _renderer(home)
    samples = [sample(kind, audience) for kind, audience in chosen]
    return [Preview(each, _render(renderer, each)) for each in samples]


def write_gallery(home: Home, folder: Path) -> list[Path]:
    """Write the HTML of all sample mails, as the configuration of `home` renders them, and a page with links to them.

    Returns:
        The files; the page is the first.

    Raises:
        NotifyError: a template is wrong, or the folder cannot be written.
        ConfigError: the configuration has mistakes.
        UnsafeHomeError: others can change the templates.
    """
    check_home(home)
    check_config(home)
    renderer = _renderer(home)
    mails = [(each, _render(renderer, each)) for each in all_samples()]
    sections: dict[str, list[str]] = {title: [] for title in (*_GALLERY_TITLES.values(), _HOSTILE_TITLE)}
    for each, message in mails:
        title = _HOSTILE_TITLE if each.type is SampleType.HOSTILE else _GALLERY_TITLES[each.audience]
        link = f'<a href="{each.name}.html">{html.escape(message.subject)}</a>'
        sections[title].append(f"<li>{link} ({each.kind.value})</li>")
    page = _GALLERY.format(
        sections="\n".join(f"<h2>{title}</h2>\n<ul>{''.join(links)}</ul>" for title, links in sections.items() if links)
    )
    contents = {folder / "index.html": page} | {folder / f"{each.name}.html": message.html for each, message in mails}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise NotifyError(
            f"{error.filename} cannot be written: {error.strerror}", hint="choose another folder"
        ) from error
    return list(contents)


def check_templates(folder: Path) -> list[str]:
    """The errors of the templates in `folder`, which override built-in ones: one line each, with the template's name.

    Each template is rendered with all samples; a variable that does not exist is an error. A file that overrides no
    built-in template is one, too.

    Raises:
        NotifyError: there is no such folder.
    """
    if not folder.is_dir():
        raise NotifyError(f"{folder} is not a folder", hint="pass the folder with your templates")
    built_in = {path.relative_to(built_in_folder()) for path in built_in_folder().rglob("*") if path.is_file()}
    own = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    errors = [f"{path}: there is no built-in template of this name, so nothing uses it" for path in own - built_in]
    templates = TemplateRenderer(folder, strict=True)
    broken = templates.errors()
    errors += [f"{name}: {escape(error)}" for name, error in broken.items()]
    if not broken:
        renderer = EmailRenderer(templates, sender=OWNER, links=_SAMPLE_LINKS)
        errors += [error for each in all_samples() for error in _sample_errors(renderer, each)]
    return sorted(set(errors))


def _sample_errors(renderer: EmailRenderer, each: Sample) -> list[str]:
    """The error of rendering one sample, if there is one."""
    try:
        each.render(renderer)
    except TEMPLATE_ERRORS as error:
        return [f"{_template_of(error)}: {escape(str(error))}"]
    return []


def _template_of(error: BaseException) -> str:
    """The template, and the line, in which the error occurred: Jinja rewrites its traceback to the template's lines."""
    place = "the templates"
    traceback = error.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if name.endswith((".txt", ".html")):
            place = f"{Path(*Path(name).parts[-2:])}, line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def template_names() -> list[str]:
    return sorted({*_TEMPLATES.values(), *_SHARED_TEMPLATES})


def _renderer(home: Home) -> Renderer:
    """The renderer of the default mail transport, for both text and HTML.

    Without a configuration or a default mail transport, the renderer of default settings.
    """
    settings = load(home) if home.config.exists() else None
    if settings is not None and (section := settings.mail_settings) is not None:
        both = section.model_copy(update={"body": "both"})
        return build_renderer(settings, settings.default_mail_transport, both)
    templates = cached_renderer(home.templates if home.templates.is_dir() else None)
    return EmailRenderer(templates, sender=OWNER, links=Links())


def _render(renderer: Renderer, each: Sample) -> Message:
    try:
        return each.render(renderer)
    except TEMPLATE_ERRORS as error:
        is_digest = each.kind is EventKind.DIGEST
        template = DIGEST_TEMPLATE if is_digest else template_for(each.kind, each.audience)
        raise NotifyError(
            template_error(template, error), hint="correct it in the folder `templates` of the home"
        ) from error


def _kinds_and_audiences(name: str) -> list[tuple[EventKind, Audience]]:
    """Kind and audience of each mail of a template or event kind; also accepts the file name of a template."""
    stem = Path(name).stem
    if stem not in set(EventKind) and (found := _users_of_template(stem)):
        return found
    if stem in _SHARED_TEMPLATES:
        return [_SHARED_TEMPLATES[stem]]
    kind = _parse_kind(name, stem)
    return [(kind, audience) for audience in audiences_of(kind)]


def _users_of_template(name: str) -> list[tuple[EventKind, Audience]]:
    return [user for user, template in _TEMPLATES.items() if template == name]


def _parse_kind(name: str, stem: str) -> EventKind:
    try:
        return parse_kind(name)
    except UnknownKindError:
        suggestion = did_you_mean(stem, [*template_names(), *EventKind])
        raise ConfigError(
            f"{escape(name)!r} is neither a template nor an event kind{suggestion}",
            hint="run `notify preview` for the names",
        ) from None
