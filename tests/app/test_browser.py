"""The page in a real browser: a photo, the camera, a phone's width, and not one request to anybody else."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser(photo: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser before whose camera a photo is held."""
    program = os.environ.get("MIEN_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed, and MIEN_BROWSER names none")
    camera = tmp_path_factory.mktemp("camera") / "portrait.mjpeg"
    camera.write_bytes(photo * 5)
    with sync_playwright() as driver:
        args = [*QUIET, f"--use-file-for-fake-video-capture={camera}"]
        browser = driver.chromium.launch(executable_path=program, args=args)
        yield browser
        browser.close()


class Seen:
    """A page, and what it asked for and complained about."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.hosts, self.complaints = page, set[str](), list[str]()
        page.on("request", self._asked)
        page.on("console", self._complained)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(address)
        expect(page.locator(".mien-standing")).to_contain_text("train")

    def _asked(self, request: Request) -> None:
        if request.url.startswith("http"):
            self.hosts.add(urlsplit(request.url).hostname or "")

    def _complained(self, message: ConsoleMessage) -> None:
        if message.type == "error":  # such as a refusal by the page's own policy
            self.complaints.append(message.text)

    def shot(self, name: str) -> None:
        """A picture for people, where MIEN_SCREENSHOTS names a folder."""
        if folder := os.environ.get("MIEN_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.fixture(params=["desktop", "phone"])
def seen(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Seen]:
    """The page on a desktop in the light, and on a phone in the dark."""
    phone = request.param == "phone"
    context = browser.new_context(
        viewport=PHONE if phone else {"width": 1280, "height": 900},
        color_scheme="dark" if phone else "light",
        permissions=["camera"],
    )
    seen = Seen(context.new_page(), address)
    yield seen
    seen.shot(f"{request.node.name}")
    width = seen.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    context.close()
    assert width[0] <= width[1], "the page scrolls sideways"
    assert seen.hosts == {"127.0.0.1"}
    assert seen.complaints == []


def test_a_photo_is_uploaded_and_its_answer_read(seen: Seen, photo_file: Path) -> None:
    page = seen.page
    expect(page.locator(".mien-warnings")).to_contain_text("learnt from drawings")
    expect(page.locator("#mien-foot")).to_contain_text("Article 5(1)(f)")
    page.set_input_files("#mien-image input[type=file]", photo_file)
    face = page.locator(".mien-face")
    expect(face).to_have_count(1)
    expect(face.locator("dt")).to_have_count(7)
    shares = [float(i.get_attribute("style").split(":")[1].rstrip("%")) for i in face.locator("dd i").all()]
    assert sum(shares) == pytest.approx(100, abs=0.1)
    expect(face).to_have_class("mien-face unsure")  # a network as it was born is sure of nothing
    expect(face.locator("h3")).to_contain_text("unsure, perhaps")
    expect(face.get_by_alt_text("Where the network looked in face 1")).to_be_visible()
    expect(page.locator(".mien-by")).to_contain_text("Answered by train. This model learnt from drawings.")
    page.get_by_text("About this model").click()
    expect(page.get_by_role("heading", name="Model card: a test")).to_be_visible()
    frame, picture = page.locator(".mien-photo b").bounding_box(), page.locator(".mien-photo img").bounding_box()
    assert frame and picture
    assert picture["x"] <= frame["x"] <= frame["x"] + frame["width"] <= picture["x"] + picture["width"]


def test_the_camera_is_answered_live(seen: Seen) -> None:
    page = seen.page
    page.get_by_role("tab", name="Camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.locator("#mien-camera").get_by_text("Record").click()
    live = page.locator(".mien-face")
    expect(live).to_have_count(1)
    first = live.locator("img").get_attribute("src")
    assert first and first.startswith("data:image/jpeg")
    page.locator("#mien-camera").get_by_text("Stop").click()


def test_a_wrong_file_is_told_and_the_next_photo_works(browser: Browser, address: str, photo_file: Path) -> None:
    with browser.new_context() as context:
        page = Seen(context.new_page(), address).page
        wrong = {"name": "face.jpg", "mimeType": "image/jpeg", "buffer": b"no photo at all"}
        page.set_input_files("#mien-image input[type=file]", wrong)
        expect(page.locator(".mien-note")).to_contain_text("the file is no image of a known format")
        page.set_input_files("#mien-image input[type=file]", photo_file)
        expect(page.locator(".mien-face")).to_have_count(1)
