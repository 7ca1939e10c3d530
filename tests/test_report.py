"""The report: one page, nothing from elsewhere, and a real browser's word that it can be read."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bench_stand_in import bench, facts, fake_programs

from art_local.bench.chart import nice
from art_local.bench.comparison import load
from art_local.bench.configuration import Plan
from art_local.bench.page import page
from art_local.bench.summary import heat
from art_local.eval.metrics import Comparison

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
BROWSER = next((found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))), None)
HEADS = [[(layer + head) % 9 / 8 for head in range(8)] for layer in range(32)]

PROBE = """<script>
const boxes = [];
for (const svg of document.querySelectorAll('.wide > svg')) {
  const all = svg.viewBox.baseVal, texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBBox()]);
  for (const [name, b] of texts)
    if (b.x < -1 || b.y < -1 || b.x + b.width > all.width + 1 || b.y + b.height > all.height + 1) boxes.push('cut off: ' + name);
  for (let i = 0; i < texts.length; i++) for (let j = 0; j < i; j++) {
    const [n, a] = texts[i], [m, b] = texts[j];
    if (a.x < b.x + b.width && b.x < a.x + a.width && a.y + 3 < b.y + b.height && b.y + 3 < a.y + a.height) boxes.push(n + ' over ' + m);
  }
}
const main = document.querySelector('main'), style = getComputedStyle(document.body), size = e => document.querySelectorAll(e).length;
document.body.innerHTML = '<pre id=probe>' + JSON.stringify({
  boxes, overflow: main.scrollWidth - main.clientWidth, ink: style.color, paper: style.backgroundColor,
  charts: size('.wide > svg'), cells: size('rect title'), points: size('circle'), rows: size('tbody tr'), cards: size('.card'),
  foreign: performance.getEntriesByType('resource').length,
}).replaceAll('&', '').replaceAll('<', '') + '</pre>';
</script>"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A bench with everything a report can show: heat map, memory of a card, a failure."""
    folder = tmp_path_factory.mktemp("bench")
    plan = Plan((0, 1024, 1536, 16384, 32704), ("exact", "ranked"), kvs=("q8_0", "q4_0"), rounds=1, prompt=256)
    done = bench(folder, plan, fake_programs(folder / "bin", speeds={"off": 80, "exact": 110, "ranked": 140}, memory=32000))
    lines = [json.loads(text) for text in done.path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if line.get("art_mode") == "ranked":
            line["art_layers"] = HEADS
        if line["art_local"]["kind"] == "run":
            on_card = line["art_local"]["configuration"]["kv"] == "q8_0"
            line["art_local"]["memory"] = {"host": 1 << 30, "device": 9 << 30, "process": 8 << 30} if on_card else {"host": 900 << 20}
    return lines


Write = Callable[..., Path]


@pytest.fixture
def results(measured: list[dict[str, Any]], tmp_path: Path) -> Write:
    def write(name: str = "r.jsonl", card: str = "RTX 3090") -> Path:
        about = facts(card=card).as_dict()
        lines = [{**line, "art_local": {**line["art_local"], "facts": about}} for line in measured]
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return tmp_path / name

    return write


class Outside(HTMLParser):
    """Everything a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster", "action")]


def test_the_page_needs_nothing_from_elsewhere(results: Write) -> None:
    text = page([load(results())])
    outside = Outside()
    outside.feed(text)
    assert outside.fetched == [] and not outside.tags & {"script", "link", "iframe", "img", "object", "embed", "base", "form"}
    assert "url(" not in text and "@import" not in text
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_names_from_a_file_stay_text(results: Write) -> None:
    evil = "<script>alert(1)</script>&\"'"
    text = page([load(results(card=evil))])
    assert "<script" not in text and "&lt;script&gt;" in text


def test_every_drawing_is_well_formed_and_shows_every_number(results: Write) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page([load(results())]), re.S)
    roots = [ElementTree.fromstring(drawing) for drawing in drawings]
    titles = [title.text or "" for root in roots for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "layer 31, KV head 7: 25.0% read" in titles
    assert any(title.startswith("ranked at depth 16384: ") for title in titles)


def test_a_failure_is_told(results: Write) -> None:
    assert "out of memory: ggml_backend_cpu: failed to allocate" in page([load(results())])


EVAL = {"format": 1, "made by": "art-local eval 0", "model": {"name": "tiny.gguf"}, "plan": {"context": 512}}


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """What 'art-local eval' writes, in short."""
    comparison = Comparison([0.001, 0.003], [1.0, 2.0], [1.0, 2.1], [True, True])
    setting = {"label": "ranked eps 0.02", "where": "kernel"}
    record = {"prompt": "a", "kind": "text", "kv": "q8_0", "setting": setting, "comparison": comparison.as_dict()}
    record |= {"diverged": None, "greedy": 0, "read_share": 0.31, "byte_share": 0.37, "by_head": HEADS, "length": 512}
    file = tmp_path / "eval.json"
    file.write_text(json.dumps({**EVAL, "records": [record]}), encoding="utf-8")
    return file


def test_quality_is_told(run_cli: Cli, results: Write, tested: Path, tmp_path: Path) -> None:
    assert run_cli("report", str(results()), str(tested), "--out", str(tmp_path / "page.html")).returncode == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "ranked eps 0.02" in text and "0.00200" in text and "37.0%" in text
    assert "ranked eps 0.02 q8_0, on text" in text
    alone = run_cli("report", str(tested))
    text = tested.with_suffix(".html").read_text(encoding="utf-8")
    assert alone.returncode == 0 and "<h1>Quality of tiny.gguf</h1>" in text and "eval: quality of tiny.gguf, 512 tokens" in text
    assert "37.0%" in text and "needles found" not in text, "a column that has nothing to say is left out"
    assert "Speed" not in text and "All numbers" not in text
    tested.write_text(tested.read_text(encoding="utf-8").replace('"kv"', '"kw"'), encoding="utf-8")
    for files in ([str(tested)], [str(results()), str(tested)]):
        refused = run_cli("report", *files)
        assert refused.returncode == 1 and refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1


NOTHING = [
    ("", "holds no results"),
    ('{"kind": "something else"}\n', "holds no results of a bench"),
    (json.dumps({"art_local": {"kind": "failure", "configuration": {"mode": "off", "kv": "f16"}}}) + "\n", "every run in it failed"),
    (json.dumps({**EVAL, "records": []}), "holds nothing measured"),
]


@pytest.mark.parametrize(("content", "sentence"), NOTHING)
def test_a_file_without_a_measurement_makes_no_page(run_cli: Cli, tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "r.jsonl").write_text(content, encoding="utf-8")
    refused = run_cli("report", str(tmp_path / "r.jsonl"))
    assert refused.returncode == 2 and refused.stderr.startswith("error: ") and sentence in refused.stderr
    assert refused.stderr.count("\n") == 1 and not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("value", [0, 0.003, 0.99, 1, 7.3, 99.9, 100, 101, 12345])
def test_axes_end_on_round_numbers_above_the_data(value: float) -> None:
    assert max(value, 1e-9) <= nice(value) * 1.001 and nice(value) <= max(2.6 * value, 1)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_a_real_browser_shows_it(results: Write, tmp_path: Path, scheme: str, width: int) -> None:
    files = [results()] if scheme == "light" else [results(), results("other.jsonl", "RTX 4090")]
    text = page([load(file) for file in files]).replace("<main>", f"<style>html{{width:{width}px}}</style><main>")
    file = tmp_path / "page.html"
    file.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    seen = probe(file, scheme, max(width, 500), tmp_path)
    assert seen["boxes"] == []
    assert seen["overflow"] <= 0, "the page scrolls sideways"
    assert seen["foreign"] == 0
    assert seen["cells"] >= 32 * 8 and seen["points"] > 40 and seen["charts"] >= 6 and seen["cards"] >= 2
    brightness = [sum(map(int, re.findall(r"\d+", seen[name])[:3])) / 765 for name in ("ink", "paper")]
    assert (brightness[0] < 0.3 and brightness[1] > 0.9) if scheme == "light" else (brightness[0] > 0.8 and brightness[1] < 0.2)


def probe(file: Path, scheme: str, width: int, scratch: Path) -> dict[str, Any]:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={scratch / 'browser'}"]
    options += [f"--window-size={width},900", f"--blink-settings=preferredColorScheme={1 if scheme == 'light' else 0}", "--dump-dom"]
    done = subprocess.run(
        [str(BROWSER), *options, file.as_uri()], capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": str(scratch)}
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(found[1])
    return seen


def test_the_command(run_cli: Cli, results: Write, tmp_path: Path) -> None:
    file = results()
    done = run_cli("report", str(file), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["page"] == str(tmp_path / "r.html") and (tmp_path / "r.html").stat().st_size > 10_000
    into_itself = run_cli("report", str(file), "--out", str(file))
    assert into_itself.returncode == 1 and "is one of the results" in into_itself.stderr
    for odd in (tmp_path / "absent.jsonl", tmp_path):
        refused = run_cli("report", str(odd))
        assert refused.returncode == 1 and refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1


def test_a_page_takes_the_place_of_a_page_alone(run_cli: Cli, results: Write, tmp_path: Path) -> None:
    file, page_file = results(), tmp_path / "page.html"
    assert run_cli("report", str(file), "-o", str(page_file)).returncode == 0
    assert run_cli("report", str(file), "-o", str(page_file)).returncode == 0, "its own page is made anew"
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    (tmp_path / "link.html").symlink_to(tmp_path / "letter.txt")
    (tmp_path / "results.html").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")
    page_file.chmod(0o444)
    kept = {path: path.read_bytes() for path in (file, page_file, tmp_path / "letter.txt")}
    for name, told in {
        "page.html": "it is read-only",
        "letter.txt": "did not make it",
        "link.html": "did not make it",
        "results.html": "is one of the results",
        "pipe": "it is no plain file",
    }.items():
        refused = run_cli("report", str(file), "-o", str(tmp_path / name))
        assert refused.returncode == 1 and told in refused.stderr and refused.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in kept} == kept and (tmp_path / "pipe").is_fifo()
    for wrong in (["", "-o", "x.html"], [""], [str(file), "-o", ""], [str(file), "-o", "-"]):
        refused = run_cli("report", *wrong)
        assert refused.returncode == 2 and refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1


def test_layers_may_be_told_as_text() -> None:
    assert heat("1/0.5,0.25/x") == [[1.0, 0.5], [0.25, 0.0]] and heat("0.5,1") == [[0.5], [1.0]] and heat("") is None
    assert heat("1/0.5,,0.25/1") == [[1.0, 0.5], [], [0.25, 1.0]] and heat(",,") is None


def test_a_prediction_in_the_headline_says_so(run_cli: Cli, tmp_path: Path) -> None:
    plan = run_cli("plan", "llama-3.1-8b:Q4_K_M", "--gpu", "3090", "--json")
    (tmp_path / "plan.json").write_text(plan.stdout, encoding="utf-8")
    cards = re.findall(r'<div class="card">.*?</span>', page([load(tmp_path / "plan.json")]))
    assert cards and all("predicted, not measured: " in card for card in cards)
