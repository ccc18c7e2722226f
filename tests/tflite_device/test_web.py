"""`tflite/web/` in headless Chromium: the page's boxes are Python's."""

import http.server
import json
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading

import keras
import numpy as np
import pytest
from export_models import pictures
from PIL import Image

from keras_detblocks import export

WEB = pathlib.Path(__file__).parents[2] / "tflite" / "web"
# Behind the page's own script: sends what it found to this process.
REPORT = """<script type="module">
const result = (await window.result) ?? null;
const status = document.getElementById('status').textContent;
const wide = document.documentElement.scrollWidth > innerWidth;
await fetch('/result', {method: 'POST', body: JSON.stringify({result, status, wide})});
</script>"""
# In its place: what the page says of several files in turn.
MISTAKES = """<script type="module">
import {run} from './page.js';
const said = [];
for (const urls of CASES) {
  said.push(await run(...urls).catch((error) => `${error.constructor.name}: ${error.message}`));
}
await fetch('/result', {method: 'POST', body: JSON.stringify(said)});
</script>"""
NO_WEBASSEMBLY = "<head><script>window.WebAssembly = undefined;</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A copy of the page with its packages; skips where it cannot run."""
    for program in ("node", "npm", "chromium"):
        if shutil.which(program) is None:
            pytest.skip(f"the page's test needs {program}")
    folder = tmp_path_factory.mktemp("web") / "web"
    shutil.copytree(WEB, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm could not install the page's packages: {done.stderr[-200:]}")
    return folder


@pytest.fixture(scope="module")
def files(page, small_files):
    detector = keras.models.load_model(small_files / "detector.keras")
    folder = page / "files"
    folder.mkdir()
    shutil.copyfile(small_files / "detector.tflite", folder / "m.tflite")
    for name, options in (("pixels", {"outputs": "pixels"}), ("raw", {"postprocess": False})):
        export.to_tflite(detector, folder / f"{name}.tflite", **options)
    for name, size, times in (("small", (64, 96), 1), ("large", (64, 56), 4)):
        picture = pictures(1, size)[0].astype("uint8").repeat(times, 0).repeat(times, 1)
        Image.fromarray(picture).save(folder / f"{name}.png")
    return folder


def visit(page, query="", changes=(), report=REPORT):
    """Opens the page, some of its text replaced, in Chromium and returns what it reports."""
    answers = queue.Queue()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(page))

        def do_GET(self):
            if not self.path.startswith("/?"):
                return super().do_GET()
            text = (page / "index.html").read_text()
            for old, new in (*changes, ("</body>", f"{report}</body>")):
                text = text.replace(old, new, 1)
            content = text.encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self):
            answers.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
        # A profile of its own: a browser that is still closing would take the visit over.
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            # No other host is reached, and a phone's screen.
            *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--window-size=390,800"),
            f"--user-data-dir={profile}",
            "--remote-debugging-port=0",
            f"http://127.0.0.1:{server.server_port}/?{query}",
        ]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return answers.get(timeout=120)
        finally:
            browser.kill()
            browser.wait()
            server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, picture", [("m", "small"), ("m", "large"), ("pixels", "large"), ("raw", "small")]
)
def test_its_boxes_are_those_of_python(page, files, model, picture):
    path = files / f"{model}.tflite"
    answer = visit(page, f"model=files/{path.name}&picture=files/{picture}.png")
    assert answer["result"] is not None, answer["status"]
    with export.open_exported(path) as exported:
        want = exported.detect(str(files / f"{picture}.png"))
    found = answer["result"]["found"]
    assert len(found) == len(want["scores"]) > 0 and not answer["wide"]
    assert answer["status"].startswith(f"{len(found)} object")
    # A canvas scales otherwise than Pillow by a fraction of a gray value: of two boxes with nearly
    # equal scores either may come first, or suppress the other.
    matched = sum(
        any(
            each["name"] == name
            and abs(each["score"] - score) < 0.01
            and np.abs(np.subtract(each["box"], box)).max() < 0.5
            for name, score, box in zip(want["class_names"], want["scores"], want["boxes"])
        )
        for each in found
    )
    assert matched >= 0.9 * len(found)


@pytest.mark.slow
def test_files_that_it_cannot_take_are_one_sentence_each(page, files):
    content = (files / "m.tflite").read_bytes()
    names = content.index(b'"class_names"')
    for name, place in (("weight", len(content) // 2), ("name", names + 20), ("end", -20)):
        damaged = bytearray(content)
        damaged[place] ^= 4
        (files / f"{name}.tflite").write_bytes(damaged)
    (files / "cut.tflite").write_bytes(content[:-100])
    (files / "empty.tflite").write_bytes(b"")
    cases = {
        ("small.png",): "This is not a detector",
        ("empty.tflite",): "This is not a detector",
        ("none.tflite",): "files/none.tflite could not be loaded (404)",
        ("m.tflite", "m.tflite"): "This file is not a picture",
        **{
            (f"{name}.tflite",): "This file is damaged" for name in ("weight", "name", "end", "cut")
        },
    }
    urls = [[f"files/{name}" for name in each] for each in cases]
    said = visit(page, report=MISTAKES.replace("CASES", json.dumps(urls)))
    for text, message in zip(said, cases.values(), strict=True):
        assert text.startswith(f"Mistake: {message}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, message",
    [
        (("<head>", NO_WEBASSEMBLY), "This browser has no WebAssembly"),
        (("core/dist/index.js", "core/none.js"), "A part of this page is missing: run npm install"),
    ],
)
def test_what_it_cannot_do_without_is_one_sentence(page, files, change, message):
    answer = visit(page, "model=files/m.tflite", [change])
    assert answer["result"] is None and answer["status"].startswith(message)


def test_versions_are_pinned_and_nothing_comes_from_elsewhere():
    wanted = json.loads((WEB / "package.json").read_text())["dependencies"]
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"]
    for name, version in wanted.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    for path in WEB.glob("*"):
        if path.suffix in (".html", ".js"):
            assert "https://" not in path.read_text()
