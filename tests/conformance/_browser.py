"""A headless Chromium, driven by its own protocol over a pair of pipes, so that a page can be opened and clicked.

There is no driver and no package between the test and the browser: any Chromium will do, such as Debian's. It is looked
for on the PATH, or where MCP_TASKS_BROWSER says. ``./dev test`` installs one where it can.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "chrome-headless-shell")

# The browser reads from descriptor 3 and writes to 4.
_ON_PIPES = """
import os, sys
commands, answers = int(sys.argv[1]), int(sys.argv[2])
commands, answers = os.dup(commands), os.dup(answers)  # so that neither is 3 or 4 when the other is put there
while commands in (3, 4): commands = os.dup(commands)
while answers in (3, 4): answers = os.dup(answers)
os.dup2(commands, 3), os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_browser() -> str | None:
    """The browser to use; None if there is none."""
    if named := os.environ.get("MCP_TASKS_BROWSER"):
        return named
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """A tab. What the page complains of is in `complaints`, and every address that it asked for in `requests`."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **params: Any) -> Any:
        """A command of the browser's protocol, for this tab."""
        return self._browser.call(method, self._session, **params)

    def open(self, url: str, *, wait: str = "document.readyState === 'complete'") -> None:
        """Go to an address, and wait until the page is there."""
        self.call("Page.navigate", url=url)
        self.until(f"location.href.split('#')[0] === {json.dumps(url.partition('#')[0])} && {wait}")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + SECONDS
        while not self.run(script):
            assert time.monotonic() < deadline, f"never came true: {script}"
            time.sleep(0.02)

    def texts(self, selector: str) -> list[str]:
        """The text of each element that is shown."""
        found = self.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].filter(one => one.checkVisibility())"
            ".map(one => one.innerText.trim())"
        )
        assert isinstance(found, list)
        return found

    def text(self, selector: str) -> str:
        """The text of the one element that is shown."""
        (found,) = self.texts(selector)
        return found

    def click(self, selector: str) -> None:
        """Click an element with the mouse, in the middle, after scrolling it into view; it has to be on top there."""
        spot = self.run(
            "(() => {"
            f"const found = document.querySelector({json.dumps(selector)});"
            "found.scrollIntoView({block: 'center'});"
            "const box = found.getClientRects()[0];"
            "const x = box.x + box.width / 2, y = box.y + box.height / 2;"
            "const top = document.elementFromPoint(x, y);"
            "return {x, y, reached: found === top || found.contains(top)};})()"
        )
        assert spot["reached"], f"{selector} is covered"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=spot["x"], y=spot["y"], button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        """Press a key, such as Enter, 13."""
        char = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            about = char if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **about)

    def picture(self, path: Path) -> None:
        """A picture of what is shown, to look at."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


class Browser:
    """A running browser."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, answers: int) -> None:
        self._process = process
        self._commands, self._answers = commands, answers
        self._rest = b""
        self._next = 0
        self.complaints: list[str] = []
        """What went wrong in any tab: errors of scripts, and whatever its console calls an error."""
        self.requests: list[str] = []
        """Every address that any tab asked for."""

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """A command of the browser's protocol."""
        self._next += 1
        about = {} if session is None else {"sessionId": session}
        os.write(
            self._commands, json.dumps({"id": self._next, "method": method, "params": params, **about}).encode() + b"\0"
        )
        deadline = time.monotonic() + SECONDS
        while True:
            message = self._message(deadline)
            if message.get("id") == self._next:
                assert "error" not in message, message
                return message["result"]
            self._heard(message)

    def _heard(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.complaints.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser says nothing"
            data = os.read(self._answers, 1 << 20)
            assert data, f"the browser is gone, with status {self._process.poll()}"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        found = json.loads(message)
        assert isinstance(found, dict)
        return found

    def page(self, *, width: int = 1280, height: int = 900) -> Page:
        """A new tab."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        return page


@contextmanager
def open_browser(program: str, folder: Path) -> Iterator[Browser]:
    """Start a browser that keeps all it has in `folder`; it is gone after the block."""
    theirs_in, commands = os.pipe()
    answers, theirs_out = os.pipe()
    options = [
        "--headless=new",
        "--remote-debugging-pipe",
        f"--user-data-dir={folder / 'profile'}",
        "--no-first-run",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-sandbox",  # it shows pages of our own, and containers have no other
        "about:blank",
    ]
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", _ON_PIPES, str(theirs_in), str(theirs_out), program, *options],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env={**os.environ, "HOME": str(folder)},
        )
    os.close(theirs_in)
    os.close(theirs_out)
    browser = Browser(process, commands, answers)
    try:
        yield browser
    finally:
        try:
            browser.call("Browser.close")
            process.wait(10)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        os.close(commands)
        os.close(answers)
