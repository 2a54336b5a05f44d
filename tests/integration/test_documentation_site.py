"""The documentation as a site: the same pages as in the repository, and nothing of them from elsewhere."""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, expect

ROOT = Path(__file__).parents[2]
PARTS = ("h1", "h2", "h3", "h4", "ul", "ol", "li", "pre", "table", "tr", "img")

pytestmark = pytest.mark.peer("tools")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, which was made without a warning."""
    made = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [ROOT / ".venv-tools" / "bin" / "mkdocs", "build", "--strict", "--quiet", "--site-dir", made],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    return made


def _page_of(source: Path, site: Path) -> str:
    path = site / source.relative_to(ROOT)
    page = path.with_name("index.html") if path.name == "README.md" else path.with_suffix(".html")
    return page.read_text(encoding="utf-8").partition("<article")[2].partition("</article>")[0]


def _parts(html: str) -> dict[str, int]:
    return {tag: len(re.findall(rf"<{tag}[ >]", html)) for tag in PARTS}


def test_pages_of_the_site_have_the_parts_that_the_repositorys_own_view_has(site: Path) -> None:
    reader = MarkdownIt("commonmark").enable("table")
    sources = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").glob("*.md")]
    assert len(sources) > 30
    others = {
        source.name: (shown, own)
        for source in sources
        if (shown := _parts(_page_of(source, site)))
        != (own := _parts(reader.render(source.read_text(encoding="utf-8"))))
    }
    assert others == {}, "a list begins after an empty line; see docs/pages.py"


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""

    class Pages(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *values: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.peer("chromium")
def test_site_is_searched_and_asks_nobody_else(address: str, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}index.html?q=restore+secret")  # typed before the page listens it would be lost
    found = page.locator('.md-search-result__link[href*="docs/data-directory.html?"]')
    expect(found.first).to_be_attached()
    page.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
