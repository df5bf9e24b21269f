"""Files that are dropped and pasted into forms, and pictures that a camera takes for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.builders.pictures import picture

if TYPE_CHECKING:
    from playwright.sync_api import Page

PLACE = "or drop or paste it here"
FILE = "new File([Uint8Array.from(data)], name, { type: 'image/png' })"
DRAG = f"([name, data]) => {{ const held = new DataTransfer(); held.items.add({FILE}); return held; }}"
"""What somebody holds over the page: a file."""
COPY = f"data => navigator.clipboard.write([new ClipboardItem({{ 'image/png': ((name) => {FILE})('') }})])"
ADDRESS = "https://example.com/cat.png"
SLOW_CAMERA = """() => {
  window.opened = new MediaStream();
  navigator.mediaDevices.getUserMedia = async () => opened;
}"""
"""A camera that shows nothing before it is told to."""
SHOW = """() => {
  const canvas = document.createElement("canvas");
  canvas.getContext("2d").fillRect(0, 0, 8, 8);
  opened.addTrack(canvas.captureStream().getVideoTracks()[0]);
}"""


def test_a_file_is_dropped_and_pasted_and_so_is_an_address(page: Page, tmp_path: Path) -> None:
    picture().save(tmp_path / "cat.png")
    data = list((tmp_path / "cat.png").read_bytes())
    page.goto("/#/playground/odd/viewer")
    place = page.get_by_text(PLACE)
    held = page.evaluate_handle(DRAG, ["cat.png", data])
    for event in ("dragover", "drop"):
        place.dispatch_event(event, {"dataTransfer": held})
    page.get_by_text("cat.png · ").wait_for()
    page.locator(".drop img").wait_for()

    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(COPY, data)
    place.click()
    page.keyboard.press("Control+V")
    page.get_by_text("image.png · ").wait_for()
    page.locator(".drop img").wait_for()

    page.evaluate("address => navigator.clipboard.writeText(address)", ADDRESS)
    place.click()
    page.keyboard.press("Control+V")
    page.get_by_text(ADDRESS, exact=True).first.wait_for()


def test_a_picture_is_taken_once_the_camera_shows_one(page: Page) -> None:
    page.goto("/#/playground/odd/viewer")
    page.evaluate(SLOW_CAMERA)
    page.get_by_role("button", name="Camera").click()
    take = page.get_by_role("button", name="Take the picture")
    take.wait_for()
    assert take.is_disabled()
    page.evaluate(SHOW)
    take.click()
    page.get_by_text("camera.png").wait_for()
