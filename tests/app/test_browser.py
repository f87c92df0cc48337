"""The page in a real browser: photo, camera and video on a desktop and a phone, by keyboard, and by axe-core."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import av
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, expect

from tests.browser import driver, launch
from tests.inference.videos import scene, write_video

__all__ = ["driver"]
DESKTOP, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}
DROP = """([kind, name, type, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], name, {type}));
  const given = {bubbles: true, dataTransfer: files, clipboardData: files};
  document.body.dispatchEvent(kind === "drop" ? new DragEvent("drop", given) : new ClipboardEvent("paste", given));
}"""


@pytest.fixture(scope="module")
def browser(driver: Playwright, photo: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser before whose camera a photo is held."""
    camera = tmp_path_factory.mktemp("camera") / "portrait.mjpeg"
    camera.write_bytes(photo * 5)
    browser = launch(driver, "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={camera}")
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
        expect(page.locator("#model")).to_have_text("train")

    def _asked(self, request: Request) -> None:
        if request.url.startswith("http"):
            self.hosts.add(urlsplit(request.url).hostname or "")

    def _complained(self, message: ConsoleMessage) -> None:
        if message.type == "error":  # such as a refusal by the page's own policy
            self.complaints.append(message.text)

    def check(self, name: str) -> None:
        """What holds in every state: no scrolling sideways, and nothing serious by axe-core's rules."""
        if folder := os.environ.get("MIEN_SCREENSHOTS"):  # for people
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
        width = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1], "the page scrolls sideways"
        found = Axe().run(self.page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []

    def save(self, button: str) -> Path:
        """The file that a button downloads."""
        with self.page.expect_download() as waiting:
            self.page.locator(".way:not([hidden])").get_by_role("button", name=button, exact=True).click()
        return Path(waiting.value.path())


@pytest.fixture(params=["desktop", "phone"])
def seen(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Seen]:
    """The page on a desktop in the light, and on a phone in the dark."""
    phone = request.param == "phone"
    context = browser.new_context(
        viewport=PHONE if phone else DESKTOP, color_scheme="dark" if phone else "light", permissions=["camera"]
    )
    seen = Seen(context.new_page(), address)
    yield seen
    seen.check(request.node.name)
    context.close()
    assert seen.hosts == {"127.0.0.1"}
    assert seen.complaints == []


def test_a_photo_is_chosen_and_its_answer_read(seen: Seen, photo_file: Path) -> None:
    page, way = seen.page, seen.page.locator("#photo")
    seen.check("empty")
    expect(page.locator("#warning")).to_contain_text("learnt from drawings")
    expect(page.locator("footer")).to_contain_text("Article 5(1)(f)")
    page.set_input_files("#photo .place input", photo_file)
    card, frame = way.locator(".face"), way.locator(".frame")
    expect(card).to_have_count(1)
    expect(card.locator("dt")).to_have_count(7)
    shares = [float(bar.get_attribute("style").split("width: ")[1].rstrip("%;")) for bar in card.locator("i").all()]
    assert sum(shares) == pytest.approx(100, abs=0.1)
    expect(card.locator("h2")).to_contain_text("unsure, perhaps")  # a network as it was born is sure of nothing
    expect(frame).to_contain_text("unsure: ")
    expect(way.locator(".by")).to_contain_text("Answered by train. This model learnt from drawings.")
    place, picture = frame.bounding_box(), way.locator(".media canvas").bounding_box()
    assert place and picture
    assert picture["x"] <= place["x"] <= place["x"] + place["width"] <= picture["x"] + picture["width"]
    if page.viewport_size == DESKTOP:
        last = way.locator(".by").bounding_box()
        assert last and last["y"] + last["height"] <= DESKTOP["height"]  # without scrolling
        assert last["x"] > picture["x"] + picture["width"]
        frame.hover()
        expect(card).to_have_class("face joined")
        card.hover()
        expect(way.locator(".frame.joined")).to_have_count(1)
    way.get_by_role("button", name="Show where the network looked").click()
    expect(card.get_by_alt_text("Where the network looked in face 1")).to_be_visible()


def test_what_was_answered_is_downloaded(browser: Browser, address: str, photo_file: Path) -> None:
    with browser.new_context(viewport=DESKTOP) as context:
        seen = Seen(context.new_page(), address)
        seen.page.set_input_files("#photo .place input", photo_file)
        answer = json.loads(seen.save("JSON").read_text())
        (row,) = csv.DictReader(seen.save("csv").read_text().splitlines())
        picture = Image.open(seen.save("Picture"))
    (face,) = answer["faces"]
    assert (answer["model"], row["model"], row["file"]) == ("train", "train", "portrait.jpg")
    assert [int(row[edge]) for edge in ("top", "left", "right", "bottom")] == face["box"]
    assert float(row[face["label"]]) == face["probabilities"][face["label"]]
    assert picture.size == (answer["width"], answer["height"])
    top, left, right, _ = face["box"]
    edge, plain = (
        (one.convert("RGB").getpixel(((left + right) // 2, top))) for one in (picture, Image.open(photo_file))
    )
    assert max(abs(a - b) for a, b in zip(edge, plain, strict=True)) > 40  # there is a frame now


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_photo_is_dropped_and_pasted_and_a_wrong_one_is_told(
    browser: Browser, address: str, photo: bytes, kind: str
) -> None:
    with browser.new_context() as context:
        page = Seen(context.new_page(), address).page
        page.evaluate(DROP, [kind, "face.jpg", "image/jpeg", list(b"no photo at all")])
        expect(page.locator("#photo .note")).to_contain_text("the file is no image of a known format")
        page.evaluate(DROP, [kind, "face.jpg", "image/jpeg", list(photo)])
        expect(page.locator("#photo .face")).to_have_count(1)


def test_a_photo_that_this_browser_cannot_show_is_shown(browser: Browser, address: str, photo_file: Path) -> None:
    with browser.new_context() as context:
        page = Seen(context.new_page(), address).page
        Image.open(photo_file).save(photo_file.with_suffix(".tiff"))
        page.set_input_files("#photo .place input", photo_file.with_suffix(".tiff"))
        expect(page.locator("#photo .face canvas")).to_have_count(1)
        expect(page.locator("#photo .media canvas")).to_be_visible()


def test_a_photo_that_is_too_large_is_told_before_it_is_sent(browser: Browser, address: str, tmp_path: Path) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(51_000_000)
    with browser.new_context() as context:
        page = Seen(context.new_page(), address).page
        page.set_input_files("#photo .place input", tmp_path / "large.jpg")
        expect(page.locator("#photo .note")).to_have_text("A photo may have at most 50 MB.")


def test_the_camera_is_answered_live_and_gives_a_photo(seen: Seen) -> None:
    page, way = seen.page, seen.page.locator("#camera")
    page.get_by_text("Camera", exact=True).click()
    seen.check("camera off")
    page.get_by_role("button", name="Start the camera").click()
    expect(way.locator(".face")).to_have_count(1)
    expect(way.locator(".frame")).to_have_count(1)
    expect(way.locator(".by")).to_contain_text("Answered by train")
    with page.expect_request("**/api/frame?camera=*"):  # it goes on
        pass
    way.get_by_role("button", name="Take a photo").click()
    expect(page.locator("#photo .face")).to_have_count(1)
    expect(way).to_be_hidden()
    page.get_by_text("Camera", exact=True).click()
    expect(way.locator(".note")).to_have_text("The camera is off.")


def test_a_camera_that_is_denied_is_told(driver: Playwright, address: str) -> None:
    browser = launch(driver, "--deny-permission-prompts")
    page = Seen(browser.new_page(), address).page
    page.get_by_text("Camera", exact=True).click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#camera .note")).to_contain_text(
        "The browser did not allow the camera. Allow it for this page"
    )
    expect(page.get_by_role("button", name="Start the camera")).to_be_enabled()
    browser.close()


def test_a_video_has_a_timeline_and_its_annotated_file_is_downloaded(seen: Seen, tmp_path: Path) -> None:
    page, way = seen.page, seen.page.locator("#video")
    page.get_by_text("Video", exact=True).click()
    seen.check("no video")
    clip = write_video(tmp_path / "two faces.mp4", [scene(two=True)] * 20)
    page.set_input_files("#video .place input", clip)
    expect(way.get_by_role("button", name="Video", exact=True)).to_be_visible()
    expect(way.locator(".face")).to_have_count(2)
    expect(way.locator(".face").first.locator("polyline")).to_have_count(7)
    expect(way.get_by_role("img", name="Face 1 over time")).to_be_visible()
    expect(way.locator(".by")).to_contain_text("means over 5 pictures from 1.6 seconds. Answered by train.")
    with av.open(str(seen.save("Video"))) as annotated:
        assert len(list(annotated.decode(video=0))) == 20
    rows = list(csv.DictReader(seen.save("csv").read_text().splitlines()))
    assert ({row["track"] for row in rows}, len(rows)) == ({"1", "2"}, 10)
    way.get_by_role("img", name="Face 1 over time").click()
    page.wait_for_timeout(500)
    assert 0.5 < page.evaluate("document.querySelector('#video video').currentTime") < 1.2


def test_the_keyboard_suffices(browser: Browser, address: str) -> None:
    with browser.new_context(viewport=DESKTOP) as context:
        page = Seen(context.new_page(), address).page
        page.keyboard.press("Tab")  # About this model
        page.keyboard.press("Enter")
        expect(page.frame_locator("#card iframe").get_by_role("heading", name="Model card: a test")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#card")).to_be_hidden()
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("radio", name="Camera")).to_be_checked()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.type") == "file"
        outline = page.evaluate("getComputedStyle(document.activeElement.parentElement).outlineStyle")
        assert outline == "solid"  # the label that is seen shows where the keyboard is
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#photo .media canvas")).to_be_visible()
        expect(page.locator("#photo .by")).to_contain_text("Answered by train")
