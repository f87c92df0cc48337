"""A real browser for pages that people look at."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--use-fake-device-for-media-stream"),
)
expect.set_options(timeout=30_000)  # milliseconds: a machine may have other work


@pytest.fixture(scope="module")
def driver() -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


def launch(driver: Playwright, *args: str) -> Browser:
    """The browser, or without one a skipped test; with MIEN_SKIP_NOTHING, as in CI, a failed one."""
    program = os.environ.get("MIEN_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        tell = pytest.fail if os.environ.get("MIEN_SKIP_NOTHING") else pytest.skip
        tell(f"no browser: none of {', '.join(NAMES)} is installed, and MIEN_BROWSER names none")
    return driver.chromium.launch(executable_path=program, args=[*QUIET, *args])
