"""/docs and /redoc in a real browser: as they look, by keyboard, and with what attackers log."""

import itertools
import json
import urllib.request

import pytest
from selenium.webdriver.common.keys import Keys

from harness.api import Api
from harness.browser import NARROW, WIDE, Browser
from harness.stack import Stack
from harness.waiting import released_ports, wait_until

pytestmark = pytest.mark.xdist_group("browser")

HOSTILE = ("<img src=x onerror=\"window.broken=1\"></script><script>window.broken=1</script>"
           " \u202etxt.exe\u202c \x1b[31mred\x1b[0m \u200b end")
SEND_OF = "e.matches('#{0} button.send')"


@pytest.fixture(scope="module")
def here(template):
    """Everything, and a browser: once for all of these, as both take long to start."""
    with released_ports():
        stack = Stack(template, workers=1)
        browser = Browser()
        try:
            stack.url = f"http://127.0.0.1:{stack.start().nginx.port}"
            stack.browser = browser
            yield stack
            troubles = stack.close()
        finally:
            browser.close()
            stack.remove()
    assert not troubles, "\n".join(troubles)


@pytest.fixture
def browser(here):
    """The browser, of which nothing may be heard in the end, and which spoke to nobody else."""
    here.browser.show_as(WIDE, "light")
    yield here.browser
    assert here.browser.complaints() == []
    asked = here.browser.requests()
    assert asked and all(url.startswith(here.url + "/") for url in asked), asked


def open_page(here, path):
    here.browser.open(here.url + path)
    wait_until(lambda: here.browser.js("return document.querySelector('main h1') !== null"), 10,
               "the page is made")


# Of every element with text of its own: the contrast of the text with what is behind it.
CONTRASTS = """
const channel = (value) => {
  const c = value / 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
};
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const ground = (element) => {
  for (let e = element; e !== null; e = e.parentElement) {
    const colour = numbers(getComputedStyle(e).backgroundColor);
    if (colour[3] !== 0) return colour;
  }
  return [255, 255, 255];
};
const bad = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== "");
  if (!own || element.offsetParent === null || element.matches(":disabled, noscript")) continue;
  const pair = [numbers(getComputedStyle(element).color), ground(element)].map(luminance).sort();
  const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  if (contrast < 4.5) bad.push(`${element.outerHTML.slice(0, 80)}: ${contrast.toFixed(2)}`);
}
return bad;
"""

# Elements that stick out of the window, and those that one has to reach by name and cannot.
STICKING_OUT = """
return [...document.querySelectorAll("main *, header *")]
  .filter((e) => e.closest("pre, textarea, .skip") === null && e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.outerHTML.slice(0, 100));
"""
WITHOUT_NAME = """
return [...document.querySelectorAll("input, select, textarea, button, a, pre[tabindex], summary")]
  .filter((e) => (e.labels?.length ?? 0) === 0 && !e.getAttribute("aria-label") && e.textContent.trim() === "")
  .map((e) => e.outerHTML.slice(0, 100));
"""


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_can_be_read(here, browser, path, size, scheme):
    browser.show_as(size, scheme)
    open_page(here, path)
    browser.js("for (const d of document.querySelectorAll('details')) d.open = true")
    wait_until(lambda: browser.js("return document.querySelectorAll('details:not([open])').length")
               == 0 or browser.js("for (const d of document.querySelectorAll('details')) d.open = true"),
               5, "all is open")
    if path == "/docs":
        wait_until(lambda: browser.js("return document.querySelectorAll('form').length") >= 13, 5)
    dark = browser.js("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, dark[4:-1].split(","))) < 64) == (scheme == "dark")
    assert browser.js("return document.documentElement.scrollWidth") <= size[0]
    assert browser.js(STICKING_OUT) == []
    assert browser.js(CONTRASTS) == []
    assert browser.js(WITHOUT_NAME) == []
    levels = browser.js("return [...document.querySelectorAll('main :is(h1,h2,h3,h4)')]"
                        ".map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = browser.js("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(set(ids)) == len(ids)


def description(here):
    with urllib.request.urlopen(here.url + "/openapi.json") as answer:
        return json.load(answer)


def test_both_pages_have_all_that_is_described(here, browser):
    text = description(here)
    operations = [(path, one) for path, item in text["paths"].items() for one in item.values()]
    for page in ("/docs", "/redoc"):
        open_page(here, page)
        shown = browser.js("return document.querySelector('main').textContent")
        for path, operation in operations:
            assert path in shown and operation["summary"] in shown
            assert browser.js("return document.getElementById(arguments[0]) !== null",
                              operation["operationId"])
    for schema in text["components"]["schemas"]:
        assert browser.js("return document.getElementById(arguments[0]) !== null", f"schema-{schema}")
    for code in ("outcome_unknown", "lone_surrogate", "too_many_exports"):
        assert code in shown
    # Every link within the page leads somewhere, and the parts of the other page are found.
    assert browser.js("return [...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.hash)"
                      ".filter((h) => document.getElementById(h.slice(1)) === null)") == []
    here.browser.open(here.url + "/docs#getHits")
    wait_until(lambda: browser.js("return document.querySelector('#getHits form') !== null"), 5,
               "the form that is linked to is open")


def test_the_reference_can_be_searched(here, browser):
    open_page(here, "/redoc")
    browser.tab_to("e.id === 'filter'")
    browser.press("min_level")
    shown = "return [...document.querySelectorAll('main section.operation:not([hidden])')]" \
            ".map((s) => s.getAttribute('aria-labelledby'))"
    wait_until(lambda: browser.js(shown) == ["getLogs", "getDeviceLogs", "watchLogs", "getHits"], 5,
               "what has these words is left")
    browser.replace(Keys.BACKSPACE)
    wait_until(lambda: len(browser.js(shown)) > 20, 5, "all is there again")


def answer_of(browser, operation):
    """What the form shows, once the answer is there."""
    status = f"document.querySelector('#{operation} .status').textContent"
    wait_until(lambda: browser.js(f"return /^\\d+ .* after/.test({status})")
               and browser.js(f"return !document.querySelector('#{operation} .send').disabled"), 10,
               "there is an answer")
    return (browser.js(f"return {status}"),
            browser.js(f"return document.querySelector('#{operation} .answer .body').textContent"))


def test_a_record_is_posted_and_comes_back_by_keyboard_alone(here, browser):
    open_page(here, "/docs")
    browser.press(Keys.TAB)
    assert browser.js("return document.activeElement.className") == "skip"
    browser.press(Keys.ENTER)
    assert browser.js("return document.activeElement.id") == "main"
    browser.tab_to("e.matches('#postLog > summary')")
    assert browser.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press(Keys.ENTER)
    browser.tab_to("e.id === 'postLog-body'")
    browser.replace('{"device_id":"by-keyboard","log_level":"error","message":"typed"}')
    browser.tab_to(SEND_OF.format("postLog"))
    browser.press(Keys.ENTER)
    status, body = answer_of(browser, "postLog")
    assert status.startswith("200") and json.loads(body)["status"] == "queued"
    assert browser.js("return document.activeElement.textContent") == "Send", "the place is kept"

    browser.tab_to("e.matches('#getDeviceLogs > summary')")
    browser.press(Keys.ENTER)
    browser.tab_to("e.id === 'getDeviceLogs-device_id'")
    browser.press("by-keyboard")
    browser.tab_to(SEND_OF.format("getDeviceLogs"))

    def comes_back():
        browser.press(Keys.ENTER)
        status, body = answer_of(browser, "getDeviceLogs")
        assert status.startswith("200")
        return [log["message"] for log in json.loads(body)["data"]] == ["typed"]

    wait_until(comes_back, 15, "it is there to be read")


def fill(browser, operation, **values):
    """Opens a form, and writes into its fields."""
    browser.js(f"document.querySelector('#{operation}').open = true")
    wait_until(lambda: browser.js(f"return document.querySelector('#{operation} form') !== null"), 5)
    for name, value in values.items():
        browser.js("const e = document.getElementById(arguments[0]); e.value = arguments[1];"
                   " e.dispatchEvent(new Event('input', {bubbles: true}))", f"{operation}-{name}", value)


def send(browser, operation):
    browser.js(f"document.querySelector('#{operation} .send').click()")
    return answer_of(browser, operation)


def test_whatever_was_logged_is_shown_as_text(here, browser):
    open_page(here, "/docs")
    record = {"device_id": "hostile", "log_level": "INFO", "message": HOSTILE,
              "log_data": {HOSTILE: "wide" * 2000, "n": 12345678901234567890}}
    api = Api(here.nginx.port)
    assert api.post("/api/log", record).status == 200
    wait_until(lambda: api.get("/api/logs/hostile").json["data"], 10, "it is stored")
    api.close()
    fill(browser, "getLogs", device_id="hostile")
    for form in ("json", "csv", "ndjson", ""):
        fill(browser, "getLogs", format=form)
        status, body = send(browser, "getLogs")
        assert status.startswith("200")
        assert "<img src=x onerror=" in body and "</script><script>window.broken=1</script>" in body
        assert "U+202E" in body and "U+202C" in body and "U+200B" in body
        assert not set(body) & {"\u202e", "\u202c", "\u200b", "\x1b"}
        assert "12345678901234567890" in body, "no digit is lost"
        assert browser.js("return document.querySelectorAll('main img, main script').length") == 0
        assert browser.js("return window.broken") is None
        assert browser.js("return document.documentElement.scrollWidth") <= WIDE[0]
    # A code that a console would obey is shown as well.
    assert "U+001B" in send_csv(browser)


def send_csv(browser):
    fill(browser, "getLogs", format="csv")
    return send(browser, "getLogs")[1]


def test_forms_send_what_they_say(here, browser):
    open_page(here, "/docs")
    fill(browser, "postBatch", **{"Content-Encoding": "gzip", "Idempotency-Key": "it's"})
    curl = browser.js("return document.querySelector('#postBatch .curl').textContent")
    assert "Idempotency-Key: it'\\''s" in curl and "| gzip |" in curl
    status, body = send(browser, "postBatch")
    assert status.startswith("200") and json.loads(body)["count"] == 2
    fill(browser, "postBatch", body="[7]", **{"Content-Encoding": ""})
    # A refusal is what was asked for; the console would say so, too.
    status, body = send(browser, "postBatch")
    assert status.startswith("422") and json.loads(body)["code"] == "record_not_an_object"
    assert all("422" in one for one in browser.complaints())
    fill(browser, "getLogs", limit="1", accept="text/csv", device_id="a/b&c")
    href = browser.js("return document.querySelector('#getLogs a.button').getAttribute('href')")
    assert href == "/api/logs?device_id=a%2Fb%26c&limit=1"
    status, body = send(browser, "getLogs")
    assert body == "id,created_at,device_id,log_level,message,log_data,event_time\n"
    fill(browser, "getDeviceLogs")
    browser.js("document.querySelector('#getDeviceLogs .send').click()")
    assert browser.js("return document.querySelector('#getDeviceLogs .status').textContent") == (
        "device_id is required.")


def test_the_live_tail_is_shown_as_it_comes_until_it_is_stopped(here, browser):
    open_page(here, "/docs")
    fill(browser, "watchLogs", device_id="watched")
    browser.js("document.querySelector('#watchLogs .send').click()")
    shown = "return document.querySelector('#watchLogs .answer .body').textContent"
    wait_until(lambda: "retry: 1000" in browser.js(shown), 10, "it has begun")
    api = Api(here.nginx.port)
    assert api.log("watched", message=HOSTILE).status == 200
    wait_until(lambda: "<img src=x onerror=" in (seen := browser.js(shown)) and "U+202E" in seen, 5,
               "it is shown")
    assert browser.js("return window.broken") is None
    browser.js("document.querySelector('#watchLogs .stop').click()")
    wait_until(lambda: "Stopped." in browser.js(
        "return document.querySelector('#watchLogs .status').textContent"), 5, "it is stopped")
    before = browser.js(shown)
    assert api.log("watched", message="later").status == 200
    wait_until(lambda: len(api.get("/api/logs/watched").json["data"]) == 2, 10, "it is stored")
    api.close()
    assert browser.js(shown) == before


def test_what_a_page_may_do_is_little(here, browser):
    open_page(here, "/docs")
    with urllib.request.urlopen(here.url + "/docs") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert policy == ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
                      " img-src 'self' data:; base-uri 'none'; form-action 'none';"
                      " frame-ancestors 'none'")
    browser.js("const s = document.createElement('script'); s.textContent = 'window.broken = 1';"
               " document.body.append(s)")
    assert browser.js("return window.broken") is None
    assert any("Content Security Policy" in one for one in browser.complaints())
    assert browser.js("return fetch('http://127.0.0.1:9/').then(() => 'out', () => 'kept in')") == "kept in"
    assert any("Content Security Policy" in one for one in browser.complaints())
