"""The page as people use it, in a browser: with scripts and without, on a phone and on a desktop."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from syftnotify.core.errors import Failure
from syftnotify.core.identifiers import url_id
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification, NotificationState
from syftnotify.services.silences import SilenceOptions, add_silence, list_silences
from tests.browser.test_mails import WIDTHS, overflow_of
from tests.pages import PAGES, fill, step, undelivered, visiting
from tests.support import ANA, OWNER, TIMEOUT, Box, wait_until
from tests.trees import TREES, Disk
from tests.web import Served, serve, worker_url

pytestmark = pytest.mark.browser
HOLDING = {"interval": 1, "on_unknown": "hold"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' onclick=alert(3) {{7*7}} javascript:alert(4)"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose pages have content. Tests do not change it."""
    box = Box(tmp_path_factory.mktemp("pages"))
    box.root.mkdir()
    with serve(box, config={"notify": HOLDING}) as served:
        fill(served)
        yield served


@pytest.fixture
def own(box: Box) -> Iterator[Served]:
    """A server of one test."""
    with serve(box, config={"notify": HOLDING}) as served:
        yield served


def job_page(name: str, by: str = ANA) -> str:
    return f"jobs/{url_id(f'job/D/{OWNER}/{by}/{name}')}"


@pytest.mark.parametrize("path", [*PAGES, job_page("ages-3"), f"{job_page('ages-1')}?person={ANA}", "sign-in", "none"])
@pytest.mark.parametrize("has_content", [True, False], ids=["filled", "empty"])
def test_page_fits_phone_and_desktop_and_is_accessible(
    browser: Browser, filled: Served, own: Served, path: str, has_content: bool
) -> None:
    """In light and dark colours; axe finds nothing with all of its rules."""
    served = filled if has_content else own
    with visiting(browser, served, role="" if path == "sign-in" else "operator") as visit:
        visit.problems.clear()
        visit.open(path)
        for scheme in ("light", "dark"):
            visit.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            assert [overflow_of(visit.page, width) for width in WIDTHS] == [0, 0], scheme
            results = Axe().run(visit.page)
            assert [each["id"] for each in results.response["violations"]] == [], results.generate_report()
        assert visit.page.locator("h1").count() == 1
        assert [each for each in visit.problems if "404" not in each] == []


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def has_script(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_notifications_are_read_and_marked(browser: Browser, own: Served, has_script: bool) -> None:
    own.store(3, user=OWNER)
    with visiting(browser, own, java_script_enabled=has_script) as visit:
        page = visit.page
        visit.open("inbox")
        expect(page.locator("#unread")).to_have_text("3")
        page.get_by_role("button", name=re.compile("^Mark as read")).first.click()
        expect(page.locator("#unread")).to_have_text("2")
        expect(page.locator("#items > .unread")).to_have_count(2)
        press(page, "Mark all 2 on this page as read")
        expect(page.locator("#unread")).to_be_hidden()
        page.get_by_label("only unread").check()
        press(page, "Filter")
        expect(page.get_by_text("No notification matches.")).to_be_visible()
        assert visit.problems == []
    assert own.outbox.inbox.counts(OWNER) == (3, 0)


def test_new_notifications_appear_without_reloading(browser: Browser, own: Served) -> None:
    """Also in an inbox that was empty; reading on another device shows when the page is looked at again."""
    with visiting(browser, own) as visit:
        page = visit.page
        visit.open("inbox")
        expect(page.get_by_text("Nothing yet.")).to_be_visible()
        for number in (1, 2):
            own.store(user=OWNER, workflow_name=f"run {number}")
            expect(page.get_by_role("link", name=f'Job "run {number}" failed.')).to_be_visible()
            expect(page.locator("#unread")).to_have_text(str(number))
        expect(page.locator("#items > li")).to_have_count(2)
        page.get_by_role("button", name=re.compile("^Mark as read")).last.click()
        expect(page.locator("#unread")).to_have_text("1")
        own.store(user=OWNER, workflow_name="run 3")
        expect(page.get_by_role("link", name='Job "run 3" failed.')).to_be_visible()
        expect(page.locator("#unread")).to_have_text("2")
        assert visit.problems == []


def test_later_pages_are_read_and_marked(browser: Browser, own: Served, has_script: bool) -> None:
    own.store(60, user=OWNER)
    with visiting(browser, own, java_script_enabled=has_script) as visit:
        page = visit.page
        visit.open("inbox")
        page.get_by_role("link", name="Further entries").click()
        expect(page.locator("#items > li")).to_have_count(10)
        page.get_by_role("button", name=re.compile("^Mark as read")).last.click()
        expect(page.locator("#unread")).to_have_text("59")
        expect(page.locator("#items > li")).to_have_count(10)
        expect(page.locator("#items > .unread")).to_have_count(9)
        page.get_by_role("link", name="Newest").click()
        expect(page.locator("#items > li")).to_have_count(50)
        assert visit.problems == []


def test_page_asks_to_sign_in_when_the_session_has_ended(browser: Browser, own: Served) -> None:
    own.store(2, user=OWNER)
    with visiting(browser, own) as visit:
        visit.open("inbox")
        for token in own.outbox.tokens.all():
            own.outbox.tokens.revoke(token.id, 1.0)
        visit.page.get_by_role("button", name=re.compile("^Mark as read")).first.click()
        expect(visit.page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert own.outbox.inbox.counts(OWNER) == (2, 2)


def test_keys_select_open_and_mark(browser: Browser, own: Served) -> None:
    own.store(3, user=OWNER)
    with visiting(browser, own) as visit:
        page = visit.page
        visit.open("inbox")
        shown = page.locator("[data-item]")
        for key, place in (("j", 0), ("j", 1), ("j", 2), ("j", 2), ("k", 1)):
            page.keyboard.press(key)
            expect(shown.nth(place)).to_have_class(re.compile("current"))
        page.keyboard.press("e")
        expect(shown.nth(1)).to_have_class("read current")
        expect(page.locator("#unread")).to_have_text("2")
        page.get_by_label("Kind").press("j")
        expect(page.get_by_label("Kind")).to_have_value("j")
        page.locator("[data-item].current [data-open]").press("Enter")
        page.wait_for_url("**/ui/jobs/*")


def test_job_explains_who_was_notified(browser: Browser, filled: Served, has_script: bool) -> None:
    with visiting(browser, filled, java_script_enabled=has_script) as visit:
        page = visit.page
        visit.open("")
        expect(page.get_by_text("print(os.environ)").first).to_be_visible()
        expect(page.get_by_text("job.approve()")).to_be_visible()
        visit.open("jobs")
        page.get_by_role("link", name="ages-2").click()
        expect(page.locator(".timeline > li")).to_have_count(3)
        page.get_by_label("Explain for one person").fill("bo@uni.example")
        press(page, "Explain")
        assert page.url.endswith("person=bo%40uni.example"), "the answer has an address"
        expect(page.get_by_text("and not this person").first).to_contain_text("built-in: owner")
        visit.open("jobs")
        page.get_by_label("Whole name, or entity").fill("ages-1")
        press(page, "Show")
        expect(page.locator(".timeline").get_by_text("Job completed")).to_be_visible()


def test_job_shows_how_it_ended_and_its_silences(browser: Browser, own: Served) -> None:
    box = own.box
    box.clock.now = time.time()
    tree = TREES["D"](Disk(box.root, box.clock.time))
    box.scan()
    for name in ("a", "b"):
        tree.submit(name)
    step(box)
    tree.approve("a")
    tree.run("a", code=1, stderr="Traceback (most recent call last):\n  File \"main.py\", line 3\nKeyError: 'id'\n")
    tree.reject("b", reason="it returns raw rows")
    step(box)
    add_silence(box.home, own.outbox, SilenceOptions(OWNER, job=["a"], duration="1h"))
    with visiting(browser, own) as visit:
        visit.open(job_page("a"))
        expect(visit.page.get_by_role("region", name="Outcome")).to_contain_text("KeyError: 'id'")
        expect(visit.page.get_by_text("Silenced until")).to_be_visible()
        visit.page.get_by_text("The code that was submitted").click()
        expect(visit.page.get_by_text("Fingerprint")).to_be_visible()
        visit.open(job_page("b"))
        expect(visit.page.get_by_role("region", name="Outcome")).to_contain_text("Reason: it returns raw rows")
        visit.page.get_by_label("Mail address, webhook").fill("wrong")
        press(visit.page, "Add the rule")
        expect(visit.page.get_by_role("alert")).to_be_in_viewport()
    with visiting(browser, own, role="viewer", user=ANA) as visit:
        visit.open(job_page("a"))
        assert "KeyError" not in visit.page.content(), "its output is for the owner"
        assert "The code that was submitted" not in visit.page.content()
        visit.open(job_page("b"))
        expect(visit.page.get_by_text("it returns raw rows").first).to_be_visible()


def test_wrong_filters_are_explained_beside_the_form(browser: Browser, own: Served) -> None:
    with visiting(browser, own) as visit:
        for path, label, button in (("inbox", "Kind", "Filter"), ("deliveries", "Kind", "Search")):
            visit.open(path)
            visit.page.get_by_label(label).fill("nonsense")
            press(visit.page, button)
            expect(visit.page.get_by_role("alert")).to_contain_text("is not an event kind")
            expect(visit.page.get_by_label(label)).to_have_value("nonsense")
        visit.open("worklist")
        assert visit.page.get_by_role("alert").count() == 0


def test_preview_is_gone_when_the_rule_changes(browser: Browser, filled: Served) -> None:
    with visiting(browser, filled) as visit:
        page = visit.page
        visit.open("rules")
        page.get_by_label("Jobs").fill("ages-1")
        page.get_by_label("Mail address, webhook").fill(ANA)
        press(page, "Preview")
        expect(page.get_by_role("button", name="Add the rule")).to_be_visible()
        page.get_by_label("Jobs").fill("ages-*")
        expect(page.get_by_role("button", name="Add the rule")).to_have_count(0)
        expect(page.locator("#preview")).to_have_count(0)


def test_viewer_sees_own_jobs_only(browser: Browser, filled: Served) -> None:
    with visiting(browser, filled, role="viewer", user=ANA) as visit:
        expect(visit.page.get_by_role("heading", name="Inbox")).to_be_visible()
        visit.open(job_page("ages-1"))
        expect(visit.page.locator(".timeline")).to_contain_text(ANA)
        assert OWNER not in visit.page.locator(".timeline").inner_text()
        assert visit.page.get_by_role("link", name="Status").count() == 0


def test_alert_rules_are_previewed_added_and_deleted(browser: Browser, own: Served, has_script: bool) -> None:
    """The preview counts what the history has: of two runs one failed."""
    fill(own)
    with visiting(browser, own, java_script_enabled=has_script) as visit:
        page = visit.page
        visit.open("rules")
        page.get_by_label("Jobs").fill("ages-*")
        page.get_by_label("Mail address, webhook").fill("not an address@")
        press(page, "Preview")
        expect(page.get_by_role("alert")).to_contain_text("is not a mail address")
        page.get_by_label("Mail address, webhook").fill("ops@lab.example")
        press(page, "Preview")
        expect(page.get_by_role("heading", name="Would have alerted 1 time in 30 days")).to_be_visible()
        expect(page.locator("#preview").get_by_role("link", name="ages-2")).to_be_visible()
        page.get_by_label("success").check()
        press(page, "Preview")
        expect(page.get_by_role("heading", name="Would have alerted 2 times in 30 days")).to_be_visible()
        press(page, "Add the rule")
        expect(page.get_by_text("The alert rule is saved")).to_be_visible()
        (rule,) = own.outbox.alert_rules.all()
        assert (rule.job, rule.target, rule.on_success) == ("ages-*", "ops@lab.example", True)
        press(page, "Delete the rule for ages-*")
        expect(page.get_by_text("No rules yet")).to_be_visible()
        visit.open(job_page("ages-1"))
        page.get_by_label("Mail address, webhook").fill(ANA)
        press(page, "Add the rule")
        expect(page.get_by_text(f"{ANA} on failure, timeout")).to_be_visible()
        press(page, f"Delete the rule for {ANA}")
        expect(page.get_by_text("No rule names this job.")).to_be_visible()


def test_silences_are_added_and_ended(browser: Browser, own: Served, has_script: bool) -> None:
    own.box.clock.now = time.time()
    tree = TREES["D"](Disk(own.box.root, own.box.clock.time))
    own.box.scan()
    with visiting(browser, own, java_script_enabled=has_script) as visit:
        page = visit.page
        visit.open("silences")
        press(page, "Add the silence")
        expect(page.get_by_role("alert")).to_contain_text("no condition")
        page.get_by_label("Jobs").fill("noisy-*\nother-*")
        page.get_by_label("Reason").fill("maintenance")
        page.get_by_label("For how long").select_option("8 hours")
        press(page, "Add the silence")
        expect(page.get_by_text("Nothing so far.")).to_be_visible()
        tree.submit("noisy-1")
        step(own.box)
        page.reload()
        expect(page.get_by_role("heading", name=re.compile("^4 notifications suppressed"))).to_be_visible()
        press(page, "End it now")
        expect(page.get_by_text("The silence has ended.")).to_be_visible()
    (listed,) = list_silences(own.outbox, include_expired=True)
    assert (listed.silence.author, listed.silence.reason, listed.state) == (OWNER, "maintenance", "expired")


def test_worklist_is_sent_again_by_recipient(browser: Browser, own: Served, has_script: bool) -> None:
    dead, unknown = undelivered(own, ANA, Failure.PERMANENT), undelivered(own, OWNER, Failure.UNKNOWN)
    other = undelivered(own, "bo@uni.example", Failure.PERMANENT)
    with visiting(browser, own, java_script_enabled=has_script) as visit:
        page = visit.page
        visit.open("worklist")
        page.get_by_role("link", name="Attempts").first.click()
        expect(page.get_by_text("550 no such mailbox").first).to_be_visible()
        page.go_back()
        press(page, f"Send the selected again to {ANA}")
        expect(page.get_by_text("1 delivery queued again.")).to_be_visible()
        page.locator("form", has_text="bo@uni.example").get_by_role("button", name="Acknowledge").click()
        expect(page.get_by_text("1 dead letter acknowledged.")).to_be_visible()
        visit.open("deliveries")
        page.get_by_label("Outcome").select_option("unknown")
        press(page, "Search")
        expect(page.locator(".items > li")).to_have_count(1)
        page.locator(".items a").first.click()
        press(page, "Send again")
        expect(page.get_by_text("1 delivery queued again.")).to_be_visible()
    records = {each: own.outbox.history.find(each) for each in (dead, unknown, other)}
    states = [record.state for record in records.values() if record is not None]
    assert states == [NotificationState.PENDING, NotificationState.PENDING, NotificationState.DEAD]
    assert (record := records[other]) is not None
    assert record.acknowledged_at is not None


def test_transport_is_tested(browser: Browser, own: Served, has_script: bool) -> None:
    with visiting(browser, own, java_script_enabled=has_script) as visit:
        page = visit.page
        visit.open("transports")
        expect(page.get_by_text("config.yaml, line")).to_be_visible()
        press(page, "Send a test")
        expect(page.get_by_role("status")).to_contain_text("Sent through box")
        press(page, "Store a test")
        expect(page.get_by_role("status")).to_contain_text(f"stored in the inbox of {OWNER}")
    assert [mail.to for mail in own.box.mails() if mail.event == "test"] == [OWNER]


def test_person_signs_in_by_mail_and_out(browser: Browser, own: Served, has_script: bool) -> None:
    with visiting(browser, own, role="", java_script_enabled=has_script) as visit:
        page = visit.page
        visit.open("deliveries")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.get_by_label("Mail address").fill(OWNER)
        press(page, "Mail me a link")
        expect(page.get_by_text("a link was sent")).to_be_visible()
        (mail,) = wait_until(own.box.mails, what="the mail")
        found = re.search(r"http\S+/ui/sign-in/\S+", mail.text)
        assert found is not None
        page.goto(found[0])
        press(page, "Sign in")
        expect(page.get_by_role("heading", name="Deliveries")).to_be_visible()
        press(page, "Sign out")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        visit.open("inbox")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_hostile_texts_are_shown_and_never_executed(browser: Browser, own: Served) -> None:
    """In names, reasons, payloads and code; what the page loads comes from itself alone."""
    box = own.box
    tree = TREES["D"](Disk(box.root, box.clock.time))
    box.scan()
    name = HOSTILE.replace("/", "|")  # no name of a folder has a slash
    tree.submit(name, files={"main.py": f"# {HOSTILE}\nimport os\nos.remove('{HOSTILE}')\n"}, config={"name": HOSTILE})
    step(box)
    tree.submit("b")
    step(box)
    tree.reject("b", reason=HOSTILE)
    step(box)
    own.store(user=OWNER, workflow_name=HOSTILE, error=HOSTILE, job_id=HOSTILE)
    event = Event(EventKind.JOB_FAILED, HOSTILE, "1", payload={"name": HOSTILE, "error": HOSTILE}, emitted=True)
    item = Notification(event.key, HOSTILE, f"{HOSTILE}@x", Audience.RECIPIENT, "box", route=HOSTILE, skipped=HOSTILE)
    own.outbox.enqueue([event], [item], box.clock.now)
    box.notify("silence", "add", "--job", HOSTILE, "--until-change", "--reason", HOSTILE, "--author", HOSTILE, check=0)
    box.notify("alerts", "add", "--job", HOSTILE, "--email", ANA, check=0)
    with visiting(browser, own) as visit:
        jobs = [url_id(each) for each in (tree.entity(name), tree.entity("b"), HOSTILE)]
        for path in (*PAGES, *(f"jobs/{each}?person={HOSTILE}" for each in jobs), f"deliveries?about={HOSTILE}"):
            visit.open(path)
            found = visit.page.locator("script:not([src]), img, iframe, [onclick], [onerror], a[href^='javascript']")
            assert found.count() == 0, path
            assert "49" not in visit.page.title()
        own.store(user=OWNER, workflow_name=f"live {HOSTILE}")
        visit.open("inbox")
        expect(visit.page.get_by_text("live <script>").first).to_be_visible()
        assert visit.problems == []


@pytest.mark.parametrize("attack", ["form", "frame"])
def test_other_site_neither_submits_nor_frames_the_page(browser: Browser, own: Served, attack: str) -> None:
    with visiting(browser, own) as visit:
        target = f"{own.server.url}/ui/silences"
        html = {
            "form": f'<form method="post" action="{target}"><input name="job" value="a"><input name="end" value="2h">'
            "<button>Win</button></form>",
            "frame": f'<iframe src="{target}" width="900" height="600"></iframe>',
        }[attack]
        visit.page.goto("about:blank")
        visit.page.set_content(html)
        if attack == "form":
            visit.page.get_by_role("button").click()
            expect(visit.page.get_by_role("alert")).to_contain_text("sign in first")  # the browser sends no cookie
        else:
            wait_until(lambda: visit.page.frames[1].url.startswith("chrome-error:"), what="the refusal")
        assert list_silences(own.outbox) == []


def test_running_worker_shows_a_new_job_at_once(browser: Browser, box: Box) -> None:
    """From the tree to the open page: the worker scans, stores and serves."""
    box.configure({"serve": {"enabled": True, "port": 0}})
    tree = TREES["D"](Disk(box.root))
    box.notify("start", check=0)
    url = worker_url(box)
    token = box.notify("token", "create", "--user", OWNER, "--role", "operator", check=0).stdout.split()[0]
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT * 1000)
    page.goto(url)
    page.get_by_label("Token").fill(token)
    press(page, "Sign in")
    page.get_by_role("link", name="Inbox").click()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()
    tree.submit("ages")
    expect(page.get_by_role("link", name='Job "ages" from ana@uni.example was submitted.')).to_be_visible()
    page.get_by_role("link", name="Waiting for you").click()
    expect(page.get_by_role("link", name="ages")).to_be_visible()
    page.get_by_role("link", name="Status").click()
    expect(page.locator("#status .pill")).to_have_text("running")
    page.close()
