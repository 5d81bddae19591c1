"""What a browser makes of the status page: look.py URL, in step with the suite `status`, which writes a line for each act and waits for ours.

Nothing is slept for: each look is repeated until it is right, or for as long as anything may take."""

import json
import re
import sys
import time
import urllib.request

from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

URL = sys.argv[1]
PATIENCE = 60
EVIL = "<script>window.broken = 1</script>"

options = webdriver.ChromeOptions()
options.binary_location = "/usr/bin/chromium"
for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"]:
    options.add_argument(argument)
options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def until(what, look):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            found = look()
        except (StaleElementReferenceException, IndexError):
            found = None
        if found:
            return found
        assert time.monotonic() < end, f"{what} within {PATIENCE} s; the page says:\n{browser.find_element(By.TAG_NAME, 'body').text}"
        time.sleep(0.05)


def in_step(word):
    print(word, flush=True)
    line = sys.stdin.readline()
    assert line.strip() == word, f"the suite says {line!r} where {word!r} was to come"


def rows(section):
    return browser.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map(row => [...row.cells].map(cell => cell.innerText))", section
    )


def names():
    return [row[0].splitlines()[0] for row in rows("volumes")]


def focus():
    return browser.execute_script(
        "const at = document.activeElement; return [at.tagName, at.id || at.textContent.trim(), getComputedStyle(at).outlineStyle]"
    )


def press(*keys):
    actions = webdriver.ActionChains(browser)
    for key in keys:
        actions.send_keys(key)
    actions.perform()


def tab_to(what):
    """Goes there with the Tab key alone, and sees where it is on the way."""
    for _ in range(100):
        press(Keys.TAB)
        tag, words, outline = focus()
        # The frame of a field is its browser's; everything else must show a line.
        assert outline != "none" or tag == "BODY", f"{tag} {words!r} has the focus, and nobody sees it"
        if words == what:
            return
    raise AssertionError(f"{what} cannot be reached with the Tab key")


def emulate(scheme, width, height):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def shows_what_there_is():
    browser.get(URL)
    until("a live page", lambda: browser.find_element(By.ID, "link").text == "Live")
    until("the volumes", lambda: sorted(names()) == sorted([EVIL, "orders", "cold"]))
    orders = until("where it is mounted", lambda: [row for row in rows("volumes") if row[0].startswith("orders") and "/staging" in row[4]])[0]
    assert orders[1:4] == ["fast", "16 MiB", "node-a"], orders
    assert "failed" in orders[5] and "DeleteVolume: FAILED_PRECONDITION" in orders[5], orders
    failed = rows("failures")
    assert any(row[0] == "DeleteVolume" and "FAILED_PRECONDITION" in row[2] and row[3] == "2" and row[6] == "stands" for row in failed), failed
    refused = [row for row in failed if row[0] == "CreateVolume"]
    assert len(refused) == 1 and "INVALID_ARGUMENT" in refused[0][2] and "<img src=x onerror='window.broken = 2'>" in refused[0][2], failed
    under_way = until("what runs and waits", lambda: [row for row in [rows("work")] if len(row) == 3])[0]
    assert under_way[0][:3] == ["CreateVolume", "name late in archive", "runs"], under_way
    assert [row[2] for row in under_way if row[0] == "ControllerExpandVolume"] == ["waits"], under_way
    assert [row[5] for row in under_way if row[0] == "ControllerExpandVolume"] == ["DeleteVolume"], under_way


def is_text_only():
    assert browser.execute_script("return window.broken") is None
    assert browser.execute_script("return document.querySelectorAll('main script, main img').length") == 0


def drawn_at(drawn):
    return [[float(x) for x in re.findall(r"M([0-9.]+) ", path)] for path, _ in drawn]


def plots_are_right():
    def compare():
        told = json.load(urllib.request.urlopen(URL + "status.json"))["history"]
        wide = browser.execute_script("return document.querySelector('article svg').viewBox.baseVal.width")
        assert wide == 90, wide
        most = 0
        for history in told:
            drawn = browser.execute_script(
                "return [...document.querySelectorAll(`[data-backend=\"${arguments[0]}\"] path.bars`)].map(path => [path.getAttribute('d'), Number(path.dataset.points)])",
                history["backend"],
            )
            series = [history[of] for of in ("calls", "failed", "longest_ms", "mean_ms")]
            assert all(len(values) == 360 for values in series), history
            # A bar for each step in which something was, where that step is.
            points = [[at + 0.5 for at, value in enumerate(values[-90:]) if value] for values in series]
            if drawn_at(drawn) != points or [count for _, count in drawn] != [len(one) for one in points]:
                return False
            most = max(most, len(points[0]))
        return len(told) == 2 and sum(sum(history["failed"]) for history in told) >= 2 and most >= 3

    until("plots of what is told", compare)
    plot = browser.find_elements(By.CSS_SELECTOR, "article svg")[0]
    browser.execute_script("arguments[0].focus()", plot)
    said = lambda: browser.find_element(By.CSS_SELECTOR, "article .said").text
    before = said()
    press(Keys.HOME)
    assert said() == "14 min 50 s ago: calls 0", said()
    press(Keys.ARROW_RIGHT)
    assert said().startswith("14 min 40 s ago"), said()
    press(Keys.TAB)
    assert "ago" in before or "hour" in said(), said()


def works_from_the_keyboard():
    browser.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    browser.get(URL)
    until("the volumes", lambda: len(names()) == 3)
    press(Keys.TAB)
    assert focus()[1] == "Skip to the volumes", focus()
    press(Keys.ENTER)
    tab_to("filter")
    press("ORDERS")
    until("what was filtered", lambda: names() == ["orders"])
    assert browser.find_element(By.CSS_SELECTOR, "#volumes h2 .count").text == "1 of 3"
    press(" nowhere")
    until("nothing", lambda: names() == [] and "has all these words" in browser.find_element(By.CSS_SELECTOR, "#volumes .none").text)
    press(Keys.ESCAPE)
    until("everything", lambda: len(names()) == 3)
    tab_to("Size")
    header = lambda: browser.find_element(By.XPATH, "//section[@id='volumes']//th[button='Size']").get_attribute("aria-sort")
    press(Keys.ENTER)
    until("the largest first", lambda: header() == "descending" and names()[0] == "cold")
    press(Keys.SPACE)
    until("the smallest first", lambda: header() == "ascending" and names()[-1] == "cold")


def updates_in_place():
    browser.execute_script("window.mark = document.querySelector('#volumes tbody tr')")
    in_step("more")
    until("the new volume", lambda: "new" in names())
    assert browser.execute_script("return window.mark.isConnected"), "the row was made anew although nothing in it changed"
    assert focus()[:2] == ["BUTTON", "Size"], focus()
    in_step("thaw")
    until("nothing under way", lambda: rows("work") == [] and "Nothing runs" in browser.find_element(By.ID, "work").text)
    # A listing is asked for at intervals.
    until("the volumes after the thaw", lambda: sorted(names()) == sorted([EVIL, "orders", "late", "new"]))


def is_accessible():
    for scheme, width, height in [("light", 1400, 1000), ("dark", 1400, 1000), ("light", 390, 800), ("dark", 390, 800)]:
        emulate(scheme, width, height)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, f"{width} wide, and it scrolls sideways"
        # Each scheme and each layout once.
        if (scheme, width) not in [("light", 1400), ("dark", 390)]:
            continue
        found = Axe().run(browser)
        told = [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]]
        assert not told, f"{scheme}, {width} wide: {told}"
        assert len(found["passes"]) > 20, "axe has looked at something"


def asks_nobody_else():
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    assert len(urls) > 5 and all(url.startswith(URL) for url in urls), urls
    assert browser.get_log("browser") == []
    # And could not.
    browser.execute_script("const script = document.createElement('script'); script.textContent = 'window.broken = 3'; document.body.append(script)")
    assert browser.execute_script("return window.broken") is None
    refused = browser.execute_async_script("const done = arguments[0]; fetch('http://localhost:9/').then(() => done('asked'), (error) => done(error.name))")
    assert refused == "TypeError", refused
    log = [entry["message"] for entry in browser.get_log("browser")]
    assert len(log) >= 2 and all("Content Security Policy" in line for line in log), log


def says_when_nobody_answers():
    in_step("end")
    until("what is missing", lambda: browser.find_element(By.ID, "link").text.startswith("No answer since"))
    assert len(names()) == 4, "what was known last stays"


try:
    shows_what_there_is()
    is_text_only()
    works_from_the_keyboard()
    updates_in_place()
    plots_are_right()
    is_accessible()
    asks_nobody_else()
    says_when_nobody_answers()
finally:
    browser.quit()
