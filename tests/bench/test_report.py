"""The report and the README's table, made of records that look like those of the harness."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from bench import html
from bench.html.results import read
from bench.records import RESULTS
from tensorgl.wasm import browsers
from tests.gl import REQUIRED

README = Path(__file__).parent.parent.parent / "README.md"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/131.0.0.0 Safari/537.36"
SWIFTSHADER = "ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero)), SwiftShader driver)"
LLVMPIPE = "llvmpipe (LLVM 15.0.6, 256 bits)"
VOID = ("meta", "link", "br", "img", "input")


def record(case: str, op: str, side: str, seconds: float, **others: Any) -> dict[str, Any]:
    """A record of a tab on SwiftShader, unless `others` says otherwise."""
    machine = {
        "cpu": "AMD <EPYC>",
        "cores": 2,
        "os": "Linux",
        "python": "3.11.7",
        "versions": {"numpy": "2.2.1"},
    }
    tab = {} if side == "pyodide-numpy" else {"renderer": SWIFTSHADER}
    return {
        "date": "2026-11-20T10:00:00+00:00",
        "commit": "0123456789ab",
        "machine": machine | {"browser": AGENT} | tab | others.pop("machine", {}),
        "case": case,
        "group": "training" if op == "train" else "kernel",
        "op": op,
        "sizes": {},
        "side": side,
        "median_s": seconds,
        "iqr_s": seconds / 10,
        "fastest_s": seconds,
        "samples": 9,
        "error": 1e-6,
        "round": f"round of {case}",
    } | others


def records() -> list[dict[str, Any]]:
    """Two rounds of a softmax, one of each other case, in a tab; one case natively."""
    later = {"date": "2026-11-21T10:00:00+00:00", "commit": "ba9876543210-dirty", "round": "later"}
    native = {"machine": {"browser": None, "renderer": None}, "round": "native"}
    gl = native | {"machine": {"browser": None, "renderer": LLVMPIPE}}
    matmul: dict[str, Any] = {"flops": 2 * 512**3, "bytes": 12 * 512**2}
    chain = {"flops": 6 << 20, "bytes": 8 << 20}
    copy = {"flops": 1 << 20, "bytes": 8 << 20}
    softmax = {"flops": 5 << 20, "bytes": 8 << 20}
    return [
        record("softmax-1024", "softmax", "webgl", 0.004, **softmax, launches=1, gpu_s=0.003),
        record("softmax-1024", "softmax", "tfjs", 0.004, **softmax),
        record("softmax-1024", "softmax", "webgl", 0.002, **softmax, **later, launches=1),
        record("softmax-1024", "softmax", "tfjs", 0.016, **softmax, **later),
        record("matmul-512", "matmul", "webgl", 0.02, **matmul, launches=2),
        record("matmul-512", "matmul", "tfjs", 0.01, **matmul),
        record("matmul-512", "matmul", "pyodide-numpy", 0.08, **matmul),
        record("chain-1m", "chain", "webgl", 0.002, **chain),
        record("copy-4m", "copy", "webgl", 0.002, **copy),
        record("cnn-sgd-captured", "train", "webgl", 0.004),
        record("cnn-sgd-captured", "train", "tfjs", 0.032),
        record("cnn-sgd-captured", "train", "pyodide-numpy", 0.016),
        record("matmul-512", "matmul", "gl-compute", 0.01, **matmul, **gl),
        record("matmul-512", "matmul", "torch", 0.005, **matmul, **native),
    ]


def written(path: Path, *given: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in given))
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return written(tmp_path / "some.jsonl", *records())


class Page(HTMLParser):
    """What a page consists of, and whether its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(name))]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    html.write([written(folder / "some.jsonl", *records())], folder / "report.html")
    return folder / "report.html"


def test_ratios_are_of_the_newest_round_that_both_sides_have(results: Path) -> None:
    standings = {(s.environment, s.peer): s for s in read([results]).standings()}
    assert set(standings) == {
        ("Chromium, SwiftShader", "tfjs"),
        ("Chromium, SwiftShader", "pyodide-numpy"),
        ("native, llvmpipe compute", "torch"),
    }
    tfjs = standings["Chromium, SwiftShader", "tfjs"]
    found = {r.ours.case: r.value for r in tfjs.ratios}
    assert found == pytest.approx({"matmul-512": 0.5, "softmax-1024": 8, "cnn-sgd-captured": 8})
    assert tfjs.mean() == pytest.approx(32 ** (1 / 3))
    assert tfjs.mean("kernel") == pytest.approx(2)
    assert tfjs.mean("inference") is None
    assert [r.ours.case for r in tfjs.slowest(1)] == ["matmul-512"]


def test_the_newest_record_of_each_side_is_in_the_order_of_the_cases(results: Path) -> None:
    found = read([results]).latest("Chromium, SwiftShader")
    assert [(r.case, r.side, r.median) for r in found] == [
        ("matmul-512", "webgl", 0.02),
        ("matmul-512", "tfjs", 0.01),
        ("matmul-512", "pyodide-numpy", 0.08),
        ("copy-4m", "webgl", 0.002),
        ("chain-1m", "webgl", 0.002),
        ("softmax-1024", "webgl", 0.002),
        ("softmax-1024", "tfjs", 0.016),
        ("cnn-sgd-captured", "webgl", 0.004),
        ("cnn-sgd-captured", "tfjs", 0.032),
        ("cnn-sgd-captured", "pyodide-numpy", 0.016),
    ]
    assert {r.side: r.device for r in found} == {
        "webgl": "SwiftShader",
        "tfjs": "SwiftShader",
        "pyodide-numpy": "CPU by WebAssembly",
    }


@pytest.mark.parametrize(
    ("side", "about", "environment"),
    [
        ("tensorgl", {"renderer": None, "browser": None}, "native, CPU"),
        ("torch", {"renderer": None, "browser": None}, "native, CPU"),
        ("gl", {"renderer": "NVIDIA H100 80GB HBM3/PCIe/SSE2", "browser": None}, "native, NVIDIA H100 80GB HBM3"),
        ("gl-fragment", {"renderer": LLVMPIPE, "browser": None}, "native, llvmpipe fragment"),
        ("webgl", {"renderer": f"ANGLE (Mesa, {LLVMPIPE}, OpenGL 4.5)"}, "Chromium, llvmpipe"),
        ("webgl", {"renderer": "ANGLE (Intel, Mesa Intel(R) UHD, OpenGL 4.6)"}, "Chromium, Mesa Intel(R) UHD"),
        ("webgl", {"browser": "Mozilla/5.0 Gecko/20100101 Firefox/128.0"}, "Firefox, SwiftShader"),
    ],
)  # fmt: skip
def test_environments(tmp_path: Path, side: str, about: dict[str, Any], environment: str) -> None:
    path = written(
        tmp_path / "one.jsonl", record("softmax-1024", "softmax", side, 0.1, machine=about)
    )
    assert read([path]).environments == [environment]


def test_a_history_has_a_point_a_commit(tmp_path: Path) -> None:
    given = [
        record("softmax-1024", "softmax", "webgl", seconds, commit=commit, date=f"2026-11-{day}", round=day)
        for commit, seconds, day in (("a", 3, 10), ("b", 5, 11), ("b", 1, 12), ("b", 2, 13), ("a", 5, 14))
    ]  # fmt: skip
    given += [record("chain-1m", "chain", "webgl", s, round=s) for s in (1, 2)]
    found = read([written(tmp_path / "one.jsonl", *given)])
    history = found.history("Chromium, SwiftShader")
    assert list(history) == [("softmax-1024", "webgl")]
    points = history["softmax-1024", "webgl"]
    assert [(p.commit, p.median, p.iqr) for p in points] == [("a", 4, 0.4), ("b", 2, 0.2)]


def test_environments_of_several_machines_are_told_apart(tmp_path: Path) -> None:
    given = [
        record("softmax-1024", "softmax", "webgl", 0.1, round=cpu, machine={"cpu": cpu})
        for cpu in ("A", "B")
    ]
    found = read([written(tmp_path / "two.jsonl", *given)])
    assert found.environments == [f"Chromium, SwiftShader on {cpu}, 2 cores" for cpu in ("A", "B")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "bad.jsonl:2: not JSON: "),
        ("[]", "bad.jsonl:2: expected a JSON object, given list"),
        (json.dumps({"date": "2026-11-20", "median_s": 1.0}), "bad.jsonl:2: the record has no 'iqr_s'"),
        (json.dumps(record("a", "sum", "webgl", 0.0)), "bad.jsonl:2: expected 'median_s' above 0"),
        (json.dumps(record("a", "sum", "webgl", 1.0, flops="many")), "bad.jsonl:2: expected 'flops' to be int"),
        (json.dumps(record("a", "sum", "webgl", 1.0, date="now")), "bad.jsonl:2: expected 'date' in ISO 8601"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{json.dumps(records()[0])}\n{line}\n")
    with pytest.raises(html.ResultError) as caught:
        html.write([path], tmp_path / "report.html")
    assert message in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_without_results_the_error_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(html.ResultError, match="python -m bench run --save"):
        html.write([], tmp_path / "report.html")
    with pytest.raises(html.ResultError, match=r"empty\.jsonl: .* the file is empty"):
        html.write([written(tmp_path / "empty.jsonl")], tmp_path / "report.html")


def test_the_page_is_well_formed_and_needs_nothing_else(report: Path) -> None:
    page = Page(report.read_text())
    tags = [tag for tag, _ in page.elements]
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert not {"script", "link", "img", "iframe", "object"} & set(tags)
    links = [*page.values("href"), *page.values("xlink:href")]
    assert {link[0] for link in links} == {"#"}
    assert {link[1:] for link in links} <= set(ids)
    assert page.values("src") == []
    assert "@import" not in report.read_text()


def test_every_plot_is_there_and_has_a_text(report: Path) -> None:
    text = report.read_text()
    page = Page(text)
    named = {a["id"] for tag, a in page.elements if tag == "title" and "id" in a}
    plots = [a["aria-labelledby"] for tag, a in page.elements if tag == "svg"]
    # Three peers, our two devices, and the softmax that was timed at two commits.
    assert len(plots) == 3 + 2 + 1
    assert named == set(plots)
    assert "geometric mean 3.17x" in text
    assert "measured copy bandwidth 4.19 GB/s, best rate 26.8 GFLOP/s" in text
    assert "softmax-1024 over 2 commits: 4.00 ms to 2.00 ms" in text
    assert "matmul-512: 0.50x (TensorFlow.js 10.0 ms, ours 20.0 ms)" in text
    # Colours follow the page's.
    assert "currentColor" in text
    assert "#010101" not in text


def test_tables_scroll_inside_and_take_the_focus(report: Path) -> None:
    page = Page(report.read_text())
    regions = [a for tag, a in page.elements if a.get("role") == "region"]
    assert len(regions) == [tag for tag, _ in page.elements].count("table")
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)
    assert "AMD &lt;EPYC&gt;" in report.read_text()


def test_a_device_without_flops_has_a_reason_in_place_of_a_roofline(tmp_path: Path) -> None:
    path = written(tmp_path / "one.jsonl", record("pool-28", "pool", "webgl", 0.1))
    html.write([path], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "No record of SwiftShader has both flops and bytes." in text
    assert "No case was timed at several commits yet." in text


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    try:
        program = browsers.find("chromium")
    except browsers.BrowserError as missing:
        (pytest.fail if "webgl" in REQUIRED else pytest.skip)(str(missing))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(chromium: Browser, report: Path, scheme: Any) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    colour = "e => getComputedStyle(e).{}.match(/[0-9.]+/g).slice(0, 3).map(Number)"
    back = page.locator("body").evaluate(colour.format("backgroundColor"))
    label = page.locator("#ratios svg text").first.evaluate(colour.format("fill"))
    dark, light = (label, back) if scheme == "light" else (back, label)
    assert max(dark) < 128 < min(light)
    assert requests == [report.as_uri()]
    context.close()


def test_readme_table(results: Path) -> None:
    text = html.readme_table([results])
    assert "commit ba98765-dirty" in text
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if "|" in line
    ]
    head = ["where", "against", "all cases", "kernels", "training steps", "slowest case"]
    place = "Chromium, SwiftShader"
    assert rows[0] == head
    assert [place, "TensorFlow.js", "3.17x", "2.00x", "8.00x", "matmul-512 0.50x"] in rows
    assert [
        "native, llvmpipe compute",
        "PyTorch",
        "0.50x",
        "0.50x",
        "-",
        "matmul-512 0.50x",
    ] in rows
    assert ["cnn-sgd", "4.00 ms, 4.00x numpy in Pyodide"] in rows


def test_update_readme(tmp_path: Path, results: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n")
    with pytest.raises(ValueError, match=r"README\.md: expected the lines '<!-- "):
        html.update_readme(readme, [results])
    start, end = html.marks("speed")
    readme.write_text(f"before\n{start}\nold\n{end}\nafter\n")
    assert html.readme_differs(readme, [results])
    html.update_readme(readme, [results])
    assert not html.readme_differs(readme, [results])
    table = html.readme_table([results])
    assert readme.read_text() == f"before\n{start}\n\n{table}\n\n{end}\nafter\n"


def test_the_readme_says_what_the_results_say() -> None:
    # Other tests keep theirs there for a moment.
    results = sorted(path for path in RESULTS.glob("*.jsonl") if not path.name.startswith("test-"))
    if results:
        assert not html.readme_differs(README, results), "run: python -m bench report --readme"
    else:
        assert html.marks("speed")[0] not in README.read_text()


def test_the_docs_say_what_was_measured_of_training_together() -> None:
    docs = README.parent / "docs" / "training-together.md"
    assert not html.readme_differs(docs, []), f"run: python -m bench report --readme {docs}"
