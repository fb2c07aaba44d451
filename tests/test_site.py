"""The pages, where they have been built (`make docs`, `make site`), in a headless browser: at two widths."""

import functools
import http.server
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

ROOT = Path(__file__).parents[1]
BUILT = [path for name in ("html", "small") if (path := ROOT / "docs" / "_build" / name / "index.html").exists()]
SITE = max(BUILT, key=lambda path: path.stat().st_mtime).parent if BUILT else None  # the last one
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGES = sorted(str(page.relative_to(SITE).with_suffix("")) for page in SITE.glob("**/[!_]*.html")) if SITE else []
PAGES = [page for page in PAGES if not page.startswith(("_", "genindex", "py-modindex", "search"))]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(SITE is None, reason="the documentation is not built: make docs or make site"),
]

# Frames of two widths on one page, each asked what it shows. Errors of scripts and files that do not load are kept.
LOOK = """<!doctype html><body><script>
const pages = PAGES, found = {}, wait = ms => new Promise(done => setTimeout(done, ms));
async function look(page, width) {
  const frame = document.createElement("iframe"), errors = [];
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  document.body.append(frame);
  frame.src = page + ".html";
  frame.contentWindow.addEventListener("error", event => errors.push(String(event.message)));
  await new Promise(done => frame.onload = done);
  const doc = frame.contentDocument;
  frame.contentWindow.addEventListener("error", event => errors.push(String(event.message || event.target.src)), true);
  for (const image of doc.images) image.loading = "eager";
  await Promise.all([...doc.images].map(image => image.decode().catch(() => errors.push("image " + image.src))));
  const player = doc.querySelector("iframe.player");
  let plays = null;
  if (player) {
    player.scrollIntoView();
    const counter = () => player.contentDocument.getElementById("counter").value, seen = new Set();
    for (let i = 0; i < 30; i++) { await wait(40); seen.add(counter()); }
    plays = seen.size;
  }
  const equations = [...doc.querySelectorAll("math")];
  found[page + " " + width] = {
    errors, plays,
    wide: doc.documentElement.scrollWidth,
    high: doc.documentElement.scrollHeight,
    images: doc.images.length,
    unsaid: [...doc.querySelectorAll("article img")].filter(i => !i.alt || /\\.(svg|png|gif)$/.test(i.alt))
      .map(i => i.src),
    equations: equations.length,
    flat: equations.filter(m => m.offsetParent && m.getBoundingClientRect().height < 5).length,
    raw: (doc.querySelector("article").innerText.match(/\\\\(frac|begin|mathrm)/g) || []).length,
  };
  frame.remove();
}
(async () => {
  try { for (const page of pages) for (const width of [390, 1280]) await look(page, width); }
  catch (error) { found.failed = String(error); }
  await fetch("found", {method: "POST", body: JSON.stringify(found)});
})();
</script></body>"""


class Site(http.server.SimpleHTTPRequestHandler):
    """Serves the site and the page that looks at it; keeps what that found, and what was asked for and is not there."""

    missing: ClassVar[list[str]] = []
    found: ClassVar[queue.Queue[dict]] = queue.Queue()

    def do_GET(self) -> None:
        if self.path != "/look.html":
            super().do_GET()
            return
        self.answer(LOOK.replace("PAGES", json.dumps(PAGES)).encode())

    def do_POST(self) -> None:
        self.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, *args: Any) -> None:
        if code == 404 and "favicon" not in self.path:
            self.missing.append(self.path)
        super().send_error(code, *args)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """What the browser, which reaches nothing else, found on each page at each width."""
    assert CHROMIUM is not None
    handler = functools.partial(Site, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        flags += ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        flags += [f"--user-data-dir={tmp_path_factory.mktemp('browser')}", "--remote-debugging-port=0"]
        flags += ["--window-size=1400,1000"]
        address = f"http://127.0.0.1:{server.server_port}/look.html"
        browser = subprocess.Popen([CHROMIUM, *flags, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            found = Site.found.get(timeout=180)
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    assert "failed" not in found, found["failed"]
    yield found


def test_no_script_fails_and_every_file_is_there(seen: dict) -> None:
    assert {page: result["errors"] for page, result in seen.items() if result["errors"]} == {}
    assert Site.missing == []


def test_no_page_is_wider_than_a_phone(seen: dict) -> None:
    assert {page: r["wide"] for page, r in seen.items() if page.endswith(" 390") and r["wide"] > 390} == {}


def test_no_page_of_the_reference_is_endless(seen: dict) -> None:
    assert {page: r["high"] for page, r in seen.items() if page.startswith("api/") and r["high"] > 11_000} == {}


def test_equations_are_drawn(seen: dict) -> None:
    assert seen["tutorials/lif 390"]["equations"] > 10 and seen["api/neurons-leaky 1280"]["equations"] > 5
    assert {page: r for page, r in seen.items() if r["flat"] or r["raw"]} == {}


def test_pictures_are_there(seen: dict) -> None:
    assert seen["index 390"]["images"] > 0 and seen["tutorials/gallery 390"]["images"] > 11
    assert seen["api/surrogate 390"]["images"] > 15 and seen["api/spikeplot 390"]["images"] > 15
    plots = sum(r["images"] for page, r in seen.items() if page.startswith("api/spikeplot-") and page.endswith(" 390"))
    assert plots == seen["api/spikeplot 390"]["images"]
    assert {page: r["unsaid"] for page, r in seen.items() if r["unsaid"]} == {}


def test_the_animation_plays(seen: dict) -> None:
    assert seen["tutorials/spikes 390"]["plays"] > 3 and seen["tutorials/gallery 1280"]["plays"] > 3
