"""How many frames a second the live view reads at 640x480, with detection and classification, and how late it is.

    python -m benchmarks.live_speed [--run report-resnet] [--seconds 5] [--rate 30] [--browser] [--chromium PATH]

In this process, over a rendered picture with one and with two faces that drifts across the frame:
- "a frame alone": the time of one frame from pixels to marks, and its parts;
- "at 30 frames/s": frames are offered as a camera would, by another thread that also paints every one of them.
With --browser the same through Streamlit, WebRTC and Chromium with its fake camera, as the page itself tells it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks.click_latency import PATIENCE, machine_line, server, settle
from fer_core.explain.attribution import attribute
from fer_core.faces import crop_faces, find_faces
from fer_core.inference import Predictor
from fer_core.live import LiveReader, LiveWorker, face_patches
from fer_core.marks import paint

PORTRAITS = Path(__file__).parent.parent / "fer_core" / "data" / "demo" / "portraits"
TARGET = 15.0  # frames a second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="report-resnet")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second that the camera sends")
    parser.add_argument("--browser", action="store_true", help="also through WebRTC and a browser")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    predictor = Predictor.load(arguments.run)
    print(machine_line())
    for name in ("one face", "two faces"):
        frames = film(name)
        print(f"\n{name}, 640x480")
        print_parts(frames, predictor, arguments.seconds)
        for method in (None, "grad-cam"):
            reader = LiveReader(lambda crops: predictor.predict(crops).believed, maps_by(predictor, method))
            print_live(frames, reader, arguments.seconds, arguments.rate, method)
    if arguments.browser:
        print_browser(arguments.seconds, arguments.chromium)


def film(name: str) -> list[np.ndarray]:
    """Frames uint8 (480, 640, 3) in which the picture drifts by a pixel each."""
    picture = Image.open(PORTRAITS / ("happy.jpg" if name == "one face" else "two.jpg")).convert("RGB")
    if picture.size != (640, 480):
        ground = Image.new("RGB", (640, 480), "#787878")
        ground.paste(picture.resize((420, 480)), (110, 0))
        picture = ground
    return [np.roll(np.asarray(picture), shift, axis=1) for shift in [*range(20), *range(20, 0, -1)]]


def maps_by(predictor: Predictor, method: str | None) -> Callable[[np.ndarray], np.ndarray] | None:
    if method is None:
        return None
    return lambda crops: attribute(predictor.checkpoint, crops, method).maps


def print_parts(frames: list[np.ndarray], predictor: Predictor, seconds: float) -> None:
    """The median time of each step of a frame by itself, in ms."""
    reader, spent = LiveReader(lambda crops: predictor.predict(crops).believed), dict[str, list[float]]()

    def timed(step: str, work: Callable[[], object]) -> object:
        began = time.perf_counter()
        result = work()
        spent.setdefault(step, []).append(1000 * (time.perf_counter() - began))
        return result

    warm_up(reader, frames[0])
    end, i = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        frame, i = frames[i % len(frames)], i + 1
        found = find_faces(frame)
        timed("find", lambda frame=frame: find_faces(frame))  # type: ignore[misc]
        crops = crop_faces(frame, found)
        timed("crop", lambda frame=frame, found=found: crop_faces(frame, found))  # type: ignore[misc]
        timed("classify", lambda crops=crops: predictor.predict(crops))  # type: ignore[misc]
        faces = reader.read(frame, i / 30)
        patches = face_patches(faces, 640, 480)
        timed("mark", lambda faces=faces: face_patches(faces, 640, 480))  # type: ignore[misc]
        timed("paint", lambda frame=frame, patches=patches: paint(frame.copy(), patches))  # type: ignore[misc]
    parts = {step: median(times) for step, times in spent.items()}
    told = ", ".join(f"{step} {value:.1f}" for step, value in parts.items())
    whole = sum(parts.values())
    print(f"  a frame alone: {told}; in all {whole:.1f} ms, {1000 / whole:.0f} frames/s")


def warm_up(reader: LiveReader, frame: np.ndarray) -> None:
    """Until what is made once is made: graphs, fonts, a faster backend that is prepared beside the first answers."""
    end = time.monotonic() + 3
    while time.monotonic() < end:
        reader.read(frame, 0.0)


def print_live(frames: list[np.ndarray], reader: LiveReader, seconds: float, rate: float, method: str | None) -> None:
    """Frames offered at the camera's rate, each painted with the last answer, as the page does."""
    worker = LiveWorker(reader)
    warm_up(reader, frames[0])
    began, painted, rates = time.monotonic(), list[float](), []
    for i in range(int(seconds * rate)):
        time.sleep(max(0.0, began + i / rate - time.monotonic()))
        frame = frames[i % len(frames)]
        worker.offer(frame)
        before = time.perf_counter()
        paint(frame.copy(), worker.patches)
        painted.append(1000 * (time.perf_counter() - before))
        if i > rate * 2 and i % round(rate) == 0:
            rates.append(worker.rates())
    worker.close()
    read, latency = median(each.read for each in rates), 1000 * median(each.latency for each in rates)
    verdict = "" if read >= TARGET else f"; under the {TARGET:.0f} it should read"
    print(
        f"  at {rate:.0f} frames/s{f' with {method}' if method else ''}: reads {read:.1f} frames/s, latency "
        f"{latency:.0f} ms, dropped {median(each.dropped for each in rates):.0%}, "
        f"paints one in {median(painted):.1f} ms{verdict}"
    )


def print_browser(seconds: float, chromium: str) -> None:
    """What the page says of itself after a while, with Chromium's fake camera on the same cores."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        camera = Path(folder, "two.mjpeg")
        camera.write_bytes((PORTRAITS / "two.jpg").read_bytes() * 4)
        Path(folder, "runs").symlink_to(Path(__file__).parent.parent / "checkpoints")
        flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", *flags, f"--use-file-for-fake-video-capture={camera}"]
        )
        with server(Path(folder), None) as (url, _):
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(f"{url}/try_it?way=Live+webcam")
            settle(page)
            began = time.monotonic()
            page.frame_locator("iframe[title*=webrtc]").get_by_role("button", name="Start").click()
            page.get_by_text("the largest of 2").wait_for()
            first = time.monotonic() - began
            page.wait_for_timeout(1000 * (20 + seconds))  # the network is being converted to ONNX at first
            told = page.get_by_test_id("stMetricValue").all_inner_texts()
        browser.close()
    print("\nthrough WebRTC and Chromium on the same cores, two faces, as the page tells it")
    print(f"  {told[0]} frames/s, latency {told[1]} ms, dropped {told[2]}; first answer {first:.1f} s after Start")


if __name__ == "__main__":
    main()
