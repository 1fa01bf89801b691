"""Chromium without a window, as Debian has it. It remembers every request it makes."""

import json
import os

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys

WIDE, NARROW = (1280, 900), (360, 740)


class Browser:
    def __init__(self):
        options = webdriver.ChromeOptions()
        options.add_argument("--headless=new")
        # What it would ask of the world by itself.
        options.add_argument("--disable-background-networking")
        options.add_argument("--disable-component-update")
        options.add_argument("--disable-dev-shm-usage")
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)

    def close(self):
        self.driver.quit()

    def show_as(self, size, scheme):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}]})

    def open(self, url):
        self.complaints()
        self.requests()
        self.driver.get(url)

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys):
        """Where the focus is; no element is looked up."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def replace(self, text):
        """In the field with the focus."""
        chain = webdriver.ActionChains(self.driver)
        chain.key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).send_keys(text).perform()

    def tab_to(self, condition, most=60):
        """Tab, until the element with the focus is such: an expression of JavaScript about `e`."""
        for _ in range(most):
            self.press(Keys.TAB)
            if self.js(f"const e = document.activeElement; return Boolean({condition})"):
                return
        raise AssertionError(f"no Tab leads to where {condition}")

    def complaints(self):
        """What the console says, since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """The URLs that were asked for, since it was asked last."""
        events = [json.loads(entry["message"])["message"]
                  for entry in self.driver.get_log("performance")]
        return [event["params"]["request"]["url"] for event in events
                if event["method"] == "Network.requestWillBeSent"]
