"""Headless Chromium by WebDriver's plain protocol: no package is needed beside Debian's chromium-driver."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

PATIENCE = 120
"""Seconds after which a browser is taken to hang; what is waited for is there within one."""

FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]


class Browser:
    """One window."""

    def __init__(self, address: str, session: str) -> None:
        self.address = address
        self.session = session

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return _call("POST", f"{self.address}/session/{self.session}/{path}", body)

    def open(self, address: str) -> None:
        """Load a page and wait until it is there."""
        self._post("url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script, whose last line returns it."""
        return self._post("execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector: str) -> None:
        """A real click on the first element that the selector finds."""
        found = self._post("element", {"using": "css selector", "value": selector})
        self._post(f"element/{next(iter(found.values()))}/click", {})

    def wait(self, script: str, value: Any) -> None:
        """Until a script returns a value."""
        end = time.monotonic() + PATIENCE
        while (last := self.run(script)) != value:
            assert time.monotonic() < end, f"{script}: {last!r} instead of {value!r}"
            time.sleep(0.05)

    def resize(self, width: int, height: int) -> None:
        """The size of the page itself, whatever the smallest window is."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._post("goog/cdp/execute", command)

    def dark(self, wanted: bool) -> None:
        """What the page is told of the reader's colours."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if wanted else "light"}]
        self._post("goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}})

    def complaints(self) -> list[str]:
        """The console's errors and warnings since the last call."""
        entries = self._post("se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        """The addresses of everything that was asked for since the last call."""
        entries = [json.loads(entry["message"])["message"] for entry in self._post("se/log", {"type": "performance"})]
        return [one["params"]["request"]["url"] for one in entries if one["method"] == "Network.requestWillBeSent"]

    def press(self, key: str) -> None:
        """A key on the keyboard, such as Tab or Enter."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            params = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, **text}
            self._post("goog/cdp/execute", {"cmd": "Input.dispatchKeyEvent", "params": params})


def _call(verb: str, address: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(address, data, {"Content-Type": "application/json"}, method=verb)
    # whatever proxy the environment names is not for this machine
    with build_opener(ProxyHandler({})).open(request, timeout=PATIENCE) as answer:
        return json.load(answer)["value"]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile in the folder; it is ended whatever happens."""
    environment = {**os.environ, "HOME": str(profile)}
    # it takes a free port itself: one that is looked for here may be another's by then
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    )
    try:
        address = f"http://127.0.0.1:{_port(driver)}"
        _wait_for(address)
        options = {"args": [*FLAGS, f"--user-data-dir={profile / 'chromium'}"], "binary": shutil.which("chromium")}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        opened = _call("POST", f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})
        try:
            yield Browser(address, opened["sessionId"])
        finally:
            with suppress(URLError, OSError):
                _call("DELETE", f"{address}/session/{opened['sessionId']}")
    finally:
        driver.terminate()
        driver.wait(PATIENCE)


def _port(driver: "subprocess.Popen[str]") -> str:
    """What chromedriver says that it listens on."""
    assert driver.stdout is not None
    for line in driver.stdout:
        if found := re.search(r"started successfully on port (\d+)", line):
            return found[1]
    raise AssertionError("chromedriver did not start")


def _wait_for(address: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(URLError, OSError):
            if _call("GET", f"{address}/status")["ready"]:
                return
        time.sleep(0.05)
    raise TimeoutError("chromedriver did not begin to listen")
