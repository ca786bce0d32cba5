"""Who may use the page: sessions, links by mail, proxies, and forms of other sites."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi.routing import APIRoute

from syftnotify.core.errors import ConfigError
from syftnotify.core.identifiers import url_id
from syftnotify.core.silences import SilenceState
from syftnotify.services import sessions
from syftnotify.services.settings import load
from syftnotify.services.silences import list_silences
from syftnotify.services.tokens import revoke_token
from syftnotify.web.access import RateLimits
from syftnotify.web.page.access import BROWSER_COOKIE, SESSION_COOKIE
from syftnotify.web.page.pages import PAGES
from syftnotify.web.page.rendering import STATIC
from tests.support import ANA, BO, OWNER, Box, wait_until
from tests.trees import TREES, Disk
from tests.web import Served, csrf_of, serve, submit

pytestmark = pytest.mark.check_only


EXAMPLES = {
    "{job_id}": url_id("run/1"),
    "{rule_id}": "3f2a9c01b7de",
    "{silence_id}": "3f2a9c01b7de",
    "{delivery_id}": "3f2a9c01b7de",
    "{name}": "box",
    "{secret}": "abc",
}
# What needs no session, and what a viewer may use, by method and path.
OPEN = {
    ("GET", "/"),
    ("GET", "/ui"),
    ("GET", "/ui/static/{name}"),
    *(("GET", f"/ui/sign-in{rest}") for rest in ("", "/link", "/{secret}")),
    *(("POST", f"/ui/sign-in{rest}") for rest in ("", "/link", "/{secret}")),
}
VIEWER = {
    *(("GET", f"/ui/{name}") for name in ("", "inbox", "inbox/stream", "jobs", "jobs/{job_id}")),
    ("POST", "/ui/inbox/read"),
    ("POST", "/ui/sign-out"),
}
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


def operations() -> Iterator[tuple[str, str]]:
    """The method and path of everything that the page serves."""
    for router in PAGES:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            yield from ((method, route.path) for method in route.methods or ())


def status_of(client: httpx.Client, method: str, path: str, csrf: str) -> int:
    for name, example in EXAMPLES.items():
        path = path.replace(name, example)
    with client.stream(method, path, data={"csrf": csrf} if method == "POST" else None) as response:
        is_refused = "/ui/sign-in?" in response.headers.get("location", "")
        return 401 if is_refused else response.status_code


def cookie_of(response: httpx.Response, name: str) -> str:
    found = re.search(rf"{name}=([^;]+); (.+)", "\n".join(response.headers.get_list("set-cookie")))
    assert found is not None
    assert {part.strip() for part in found[2].split(";")} >= {"HttpOnly", "Secure", "SameSite=lax", "Path=/"}
    assert "domain" not in found[2].lower()
    return found[1]


def sign_in(client: httpx.Client, token: str, **more: Any) -> httpx.Response:
    return client.post("/ui/sign-in", data={"token": token, **more}, headers=SAME_SITE)


@pytest.mark.parametrize("role", ["", "viewer", "operator"])
def test_role_permits_its_pages_only(served: Served, role: str) -> None:
    client = served.visitor(role) if role else served.client()
    csrf = csrf_of(client) if role else ""
    found = {*operations()} - {("POST", "/ui/sign-out")}  # it would end the session
    permitted = OPEN | {"viewer": VIEWER, "operator": found}.get(role, set())

    assert VIEWER - found == {("POST", "/ui/sign-out")}
    refused = {each for each in found if status_of(client, *each, csrf) in {401, 403}}
    # A wrong link is refused in the same way.
    assert refused - {("POST", "/ui/sign-in"), ("POST", "/ui/sign-in/{secret}"), ("POST", "/ui/sign-in/link")} == (
        found - permitted
    )


def test_token_begins_a_session_with_a_new_secret(served: Served) -> None:
    """Session fixation: the secret of before has no part in it; the token itself is not in the cookie."""
    client = served.client()
    token = served.token("viewer")
    client.headers["Cookie"] = f"{SESSION_COOKIE}=sys_chosen-by-an-attacker"
    response = sign_in(client, token)

    session = cookie_of(response, SESSION_COOKIE)
    assert (response.status_code, response.headers["location"]) == (303, "/ui/")
    assert "attacker" not in session
    assert token not in session
    client.headers["Cookie"] = f"{SESSION_COOKIE}={session}"
    assert client.get("/ui/inbox").status_code == 200
    again = cookie_of(sign_in(client, token), SESSION_COOKIE)
    assert again != session
    assert client.get("/ui/inbox").headers["location"].startswith("/ui/sign-in?"), "the session before has ended"


def test_session_is_no_token_of_the_api_and_a_token_is_no_session(served: Served) -> None:
    created = served.created_token("operator", ANA)
    token, session = created.secret, sessions.start_session_by_token(served.outbox, created.token)
    client = served.client()

    assert client.get("/v1/notifications", headers={"Authorization": f"Bearer {session}"}).status_code == 401
    assert client.get("/v1/notifications", headers={"Cookie": f"{SESSION_COOKIE}={session}"}).status_code == 401
    assert client.get("/ui/inbox", headers={"Cookie": f"{SESSION_COOKIE}={token}"}).status_code == 303


@pytest.mark.parametrize("token", ["", "x", "syn_wrong", "service", "expired"])
def test_wrong_token_signs_nobody_in(served: Served, token: str) -> None:
    secret = {
        "service": served.token("service"),
        "expired": served.token("viewer", expires_at=time.time() - 1),
    }.get(token, token)
    response = sign_in(served.client(), secret)

    assert response.status_code == 401
    assert "set-cookie" not in response.headers


def test_session_ends_with_its_token_and_by_signing_out(served: Served) -> None:
    first, second = served.visitor("viewer", ANA), served.visitor("viewer", ANA)
    parent = next(each for each in served.outbox.tokens.all() if not each.is_session)
    revoke_token(served.outbox, parent.id)

    assert first.get("/ui/inbox").status_code == 303
    assert second.get("/ui/inbox").status_code == 200
    response = submit(second, "sign-out")
    assert (response.status_code, response.headers["location"]) == (303, "/ui/sign-in")
    assert second.get("/ui/inbox").status_code == 303


def test_too_many_wrong_tokens_must_wait(box: Box) -> None:
    with serve(box, limits=RateLimits(failures=3)) as served:
        statuses = [sign_in(served.client(), "syn_wrong").status_code for _ in range(4)]

        assert statuses == [401, 401, 401, 429]


def ask(client: httpx.Client, user: str) -> httpx.Response:
    return client.post("/ui/sign-in/link", data={"user": user}, headers=SAME_SITE)


def mailed_link(box: Box) -> str:
    mails = wait_until(lambda: [mail for mail in box.mails() if mail.event == "sign_in"], what="the mail")
    found = re.search(r"http\S+/ui/sign-in/\S+", mails[-1].text)
    assert found is not None
    return found[0]


def test_mailed_link_signs_in_once_in_the_browser_that_asked(served: Served) -> None:
    """Opening it changes nothing: programs open the links in mails, too. The Host header has no part in its address."""
    client = served.client()
    response = client.post(
        "/ui/sign-in/link", data={"user": OWNER.upper()}, headers={**SAME_SITE, "Host": "127.0.0.9:1"}
    )
    browser = cookie_of(response, BROWSER_COOKIE)
    link = mailed_link(served.box)
    path = link.removeprefix(served.server.url)
    own = {"Cookie": f"{BROWSER_COOKIE}={browser}", **SAME_SITE}

    assert path.startswith("/ui/sign-in/")
    assert "asked for in another browser" in client.get(path).text
    assert client.post(path, data={"a": ""}, headers=SAME_SITE).status_code == 401
    assert (
        client.post(path, data={"a": ""}, headers={**SAME_SITE, "Cookie": f"{BROWSER_COOKIE}=other"}).status_code == 401
    )
    assert client.get(path, headers=own).status_code == 200
    signed_in = client.post(path, data={"a": ""}, headers=own)
    session = cookie_of(signed_in, SESSION_COOKIE)
    assert client.get("/ui/status", headers={"Cookie": f"{SESSION_COOKIE}={session}"}).status_code == 200
    assert client.post(path, data={"a": ""}, headers=own).status_code == 401, "it works once"


def test_page_that_was_asked_for_follows_a_mailed_link(served: Served) -> None:
    client = served.client()
    response = client.post("/ui/sign-in/link", data={"user": OWNER, "next": "/ui/jobs?name=a"}, headers=SAME_SITE)
    own = {"Cookie": f"{BROWSER_COOKIE}={cookie_of(response, BROWSER_COOKIE)}", **SAME_SITE}
    path = mailed_link(served.box).removeprefix(served.server.url)

    assert 'name="next" value="/ui/jobs?name=a"' in client.get(path, headers=own).text
    signed_in = client.post(path, data={"next": "/ui/jobs?name=a"}, headers=own)
    assert signed_in.headers["location"] == "/ui/jobs?name=a"


@pytest.mark.parametrize("user", ["nobody@uni.example", "", "x", ANA])
def test_answer_does_not_tell_who_is_known(served: Served, user: str) -> None:
    """Ana has a notification, so she is known; the others get no mail."""
    served.store(user=ANA)
    known, other = ask(served.client(), OWNER), ask(served.client(), user)

    assert known.text.replace(f"<b>{OWNER}</b>", "") == other.text.replace(f"<b>{user}</b>", "")
    assert {name for name in known.headers if name != "content-length"} == {
        name for name in other.headers if name != "content-length"
    }
    wait_until(lambda: {mail.to for mail in served.box.mails()} == {OWNER, *([ANA] if user == ANA else [])})


def test_link_expires_and_is_limited(served: Served) -> None:
    create = sessions.create_link
    settings = load(served.box.home)
    made = [create(settings, served.outbox, OWNER, "browser", "http://x") for _ in range(4)]

    assert [link is not None for link in made] == [True, True, True, False]
    assert made[0] is not None
    secret = made[0].url.rpartition("/")[2]
    with contextlib.closing(sqlite3.connect(served.box.home.outbox, isolation_level=None)) as connection:
        connection.execute("UPDATE sign_in_links SET expires_at = ?", (time.time() - 1,))
    assert sessions.start_session_by_link(settings, served.outbox, secret, "browser") == ""


def test_session_by_link_ends_when_the_person_is_not_known_any_more(served: Served) -> None:
    settings = load(served.box.home)
    served.store(user=ANA)
    link = sessions.create_link(settings, served.outbox, ANA, "browser", "http://x")
    assert link is not None
    secret = sessions.start_session_by_link(settings, served.outbox, link.url.rpartition("/")[2], "browser")

    assert sessions.find_session(settings, served.outbox, secret) is not None
    with contextlib.closing(sqlite3.connect(served.box.home.outbox, isolation_level=None)) as connection:
        connection.execute("DELETE FROM inbox")
    assert sessions.find_session(settings, served.outbox, secret) is None


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/ui//evil.example",
        "/ui/\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "/v1/notifications",
        "/ui/sign-in/link",
        "/ui/../x\t",
    ],
)
def test_signing_in_leads_to_no_other_site(served: Served, target: str) -> None:
    response = sign_in(served.client(), served.token("viewer"), next=target)

    assert response.headers["location"] == "/ui/"
    assert 'name="next" value="/ui/"' in served.client().get("/ui/sign-in", params={"next": target}).text


def test_page_that_was_asked_for_follows_the_sign_in(served: Served) -> None:
    refused = served.client().get("/ui/deliveries?outcome=dead&about=a/b")
    target = dict(httpx.URL(refused.headers["location"]).params)["next"]

    assert target == "/ui/deliveries?outcome=dead&about=a/b"
    assert sign_in(served.client(), served.token("operator"), next=target).headers["location"] == target


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        pytest.param({"Sec-Fetch-Site": "cross-site"}, {}, id="another site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, {}, id="another host of the same site"),
        pytest.param({"Sec-Fetch-Site": "none"}, {}, id="no page"),
        pytest.param({"Sec-Fetch-Site": None, "Origin": "https://evil.example"}, {}, id="origin"),
        pytest.param({"Sec-Fetch-Site": None, "Origin": "null"}, {}, id="null"),
        pytest.param({"Sec-Fetch-Site": None}, {}, id="nothing"),
        pytest.param({}, {"csrf": "0" * 64}, id="wrong secret"),
        pytest.param({}, {"csrf": ""}, id="no secret"),
        pytest.param({}, {"csrf": "\u00e9"}, id="secret that is not ASCII"),
    ],
)
def test_form_of_another_site_changes_nothing(
    served: Served, headers: dict[str, str | None], fields: dict[str, str]
) -> None:
    client = served.visitor()
    csrf = csrf_of(client)
    for name, value in headers.items():
        client.headers.pop(name, None)
        if value is not None:
            client.headers[name] = value
    response = client.post("/ui/silences", data={"csrf": csrf, "job": "a", "end": "2h", **fields})

    assert response.status_code == 403
    assert list_silences(served.outbox) == []


def test_form_of_the_page_is_accepted_from_an_older_browser(served: Served) -> None:
    client = served.visitor()
    csrf = csrf_of(client)
    del client.headers["Sec-Fetch-Site"]
    response = client.post(
        "/ui/silences", data={"csrf": csrf, "job": "a", "end": "2h"}, headers={"Origin": served.server.url}
    )

    assert response.status_code == 303
    assert [each.state for each in list_silences(served.outbox)] == [SilenceState.ACTIVE]


def test_secret_of_the_forms_of_another_session_is_refused(served: Served) -> None:
    client, other = served.visitor(), served.visitor()

    assert client.post("/ui/silences", data={"csrf": csrf_of(other), "job": "a", "end": "2h"}).status_code == 403


@pytest.mark.parametrize(
    ("host", "is_accepted"),
    [
        ("127.0.0.1:8780", True),
        ("localhost", True),
        ("[::1]:8780", True),
        ("10.1.2.3", True),
        ("notify.lab.example", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8780", False),
        ("", False),
        ("a@localhost", False),
        ("localhost:x", False),
        ("LocalHost", True),
    ],
)
def test_name_of_another_site_is_refused(box: Box, host: str, is_accepted: bool) -> None:
    """DNS rebinding: a site makes its own name an address of this machine, and its scripts read the page."""
    with serve(box, url="https://notify.lab.example") as served:
        response = served.visitor().get("/ui/inbox", headers={"Host": host})

        assert response.status_code == (200 if is_accepted else 421)


def test_pages_have_their_security_headers(served: Served) -> None:
    """Clickjacking, sniffing, caching, inline scripts; also of errors."""
    client = served.visitor()
    for path in ("/ui/inbox", "/ui/none", "/ui/sign-in/abc", "/ui/deliveries/zz"):
        headers = client.get(path).headers
        policy = {part.split()[0]: part.split()[1:] for part in headers["content-security-policy"].split("; ")}

        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == ["'self'"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


def test_proxy_names_the_person(box: Box) -> None:
    """Only where the configuration says so. What the person may do is what a mailed link would permit."""
    named = {"Remote-User": OWNER.upper(), **SAME_SITE}
    with serve(box, behind_proxy=True, auth_header="Remote-User") as served:
        served.store(user=ANA)
        client = served.client()

        assert client.get("/ui/status", headers=named).status_code == 200
        assert client.get("/ui/inbox", headers={"Remote-User": ANA}).status_code == 200
        assert client.get("/ui/status", headers={"Remote-User": ANA}).status_code == 403
        assert client.get("/ui/inbox", headers={"Remote-User": BO}).status_code == 403
        assert client.get("/ui/inbox").status_code == 303
        client.headers.update(named)
        assert submit(client, "silences", job="a", end="2h").status_code == 303
        # The API has tokens: a header does not replace them.
        assert client.get("/v1/notifications").status_code == 401


def test_header_of_a_proxy_has_no_effect_without_one(served: Served) -> None:
    assert served.client().get("/ui/inbox", headers={"Remote-User": OWNER}).status_code == 303


def test_header_of_a_proxy_needs_a_proxy(box: Box) -> None:
    box.configure({"serve": {"auth_header": "Remote-User"}})

    with pytest.raises(ConfigError, match="behind_proxy"):
        load(box.home)


@pytest.mark.parametrize(
    "url", ["notify.lab.example", "ftp://x.example", "https://x.example/path", "https://x.example?a"]
)
def test_address_of_the_page_is_checked(box: Box, url: str) -> None:
    box.configure({"serve": {"url": url}})

    with pytest.raises(ConfigError, match=r"serve\.url: expected an address"):
        load(box.home)


def test_forwarded_address_counts_only_behind_a_proxy(box: Box) -> None:
    """Otherwise a client could choose the address whose failures are counted."""
    for number, is_behind_proxy in enumerate((False, True)):
        with serve(box, limits=RateLimits(failures=2), behind_proxy=is_behind_proxy) as served:
            statuses = [
                served.client()
                .post(
                    "/ui/sign-in",
                    data={"token": "x"},
                    headers={**SAME_SITE, "X-Forwarded-For": f"10.{number}.0.{each}"},
                )
                .status_code
                for each in range(3)
            ]
            assert statuses == ([401, 401, 401] if is_behind_proxy else [401, 401, 429])


def test_no_page_changes_anything_when_it_is_shown(served: Served, tmp_path: Path) -> None:
    """GET changes neither the database nor a file of the home, nor does a link in a mail that a program opens."""
    served.store(2, user=OWNER)
    client = served.visitor()
    csrf = csrf_of(client)

    def content() -> tuple[str, dict[str, bytes]]:
        with contextlib.closing(sqlite3.connect(served.box.home.outbox, isolation_level=None)) as connection:
            rows = "\n".join(connection.iterdump())
        files = [path for path in served.box.home.root.rglob("*") if path.is_file() and "outbox.db" not in path.name]
        return rows, {str(path): path.read_bytes() for path in files}

    before = content()
    for method, path in operations():
        if method == "GET":
            status_of(client, method, path, csrf)
    assert content() == before


def test_mails_link_to_the_page(box: Box) -> None:
    """N08, N11: to the job, where no other link is configured."""
    with serve(box, url="https://notify.lab.example/") as served:
        tree = TREES["D"](Disk(box.root, box.clock.time))
        box.scan()
        tree.submit()
        box.scan()
        (mail,) = [mail for mail in box.mails() if mail.event == "job_submitted" and mail.to == OWNER]
        link = f"https://notify.lab.example/ui/jobs/{url_id(tree.entity())}"

        assert f"Review the job: {link}" in mail.text.splitlines()
        assert f'href="{link}"' in mail.html
        assert served.visitor().get(link.removeprefix("https://notify.lab.example")).status_code == 200


def test_sessions_are_listed_and_revoked_as_tokens(served: Served) -> None:
    client = served.visitor()
    (session,) = [each for each in served.outbox.tokens.all() if each.is_session]

    assert f"{session.id}  operator {OWNER}, session since " in served.box.notify("token", "list", check=0).stdout
    served.box.notify("token", "revoke", session.id, check=0)
    assert client.get("/ui/inbox").status_code == 303


def test_script_of_others_is_the_pinned_one() -> None:
    """htmx 4.0.1 as its package on npm has it, with its licence."""
    content = (STATIC / "htmx-4.0.1.min.js").read_bytes()

    assert hashlib.sha256(content).hexdigest() == "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
    assert (STATIC / "htmx-LICENSE.txt").read_text(encoding="utf-8").startswith("Zero-Clause BSD")


def test_error_of_a_page_is_a_page(served: Served) -> None:
    client = served.visitor()
    for path, status, text in (
        ("/ui/none", 404, "There is no such page."),
        ("/ui/deliveries?kind=nonsense", 400, "is not an event kind"),
        ("/ui/inbox?cursor=x", 400, "the cursor is not valid here"),
        ("/ui/deliveries/00000000", 404, "there is no such notification"),
        ("/ui/jobs/none", 404, "is recorded"),
        ("/ui/jobs/job_Yf8", 404, "is recorded"),  # its bytes are no text
    ):
        response = client.get(path)
        assert (response.status_code, text in response.text) == (status, True), response.text
        assert 'aria-label="Pages"' in response.text


def test_explanation_for_a_person_is_for_operators(served: Served) -> None:
    """It names the other recipients and routes."""
    served.store(user=ANA, job_id="run/1")
    path = f"/ui/jobs/{url_id('run/1')}?person={BO}"

    assert "built-in: owner" in served.visitor().get(path).text
    assert "built-in: owner" not in served.visitor("viewer", ANA).get(path).text


def test_answer_to_a_form_that_a_browser_loads_again_leads_to_its_page(served: Served) -> None:
    client = served.visitor()
    for path, target in (("/ui/transports/box/test", "/ui/transports"), ("/ui/inbox/read", "/ui/inbox")):
        response = client.get(path)
        assert (response.status_code, response.headers["location"]) == (303, target)


def test_silence_of_the_page_has_the_visitors_time(box: Box) -> None:
    """What cannot be is refused: two ends, and an end that no calendar has."""
    with serve(box, config={"timezones": {OWNER: "Asia/Kolkata"}}) as served:
        client = served.visitor()
        until = datetime.fromtimestamp(time.time() + 86400, ZoneInfo("Asia/Kolkata")).replace(second=0, microsecond=0)
        text = until.replace(tzinfo=None).isoformat()
        assert "(a time in Asia/Kolkata)" in client.get("/ui/silences").text
        for fields in ({"end": "change", "until": text}, {"end": "until", "until": "9999-12-31T23:59"}):
            assert submit(client, "silences", job="a", **fields).status_code == 400
        assert submit(client, "silences", job="a, b\nc", end="2h", until=text).status_code == 303
        (listed,) = list_silences(served.outbox)
        assert (listed.silence.ends_at, listed.silence.match.job) == (until.timestamp(), ("a, b", "c"))
        assert client.get("/ui/silences").status_code == 200
