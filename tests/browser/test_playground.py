"""The playground and the embedding example in Chromium, as people use them."""

from __future__ import annotations

import base64
import random
import re
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import tensorgl
from tests.browser import playground
from tests.browser.playground import opened, printed, run, status, stop, write

no_complaints, server, url = playground.no_complaints, playground.server, playground.url
browser, page = playground.browser, playground.page
EXAMPLES = Path(tensorgl.__file__).with_name("examples")


def test_gallery(page: Page) -> None:
    choose = page.get_by_label("Example")
    titles = {
        option.get_attribute("value"): option.inner_text()
        for option in choose.locator("option").all()
    }
    scripts = {p.stem: p.read_text() for p in EXAMPLES.glob("*.py") if p.name != "__init__.py"}
    assert set(titles) == {"", *scripts}
    for name, source in scripts.items():
        assert source.startswith(f'"""{titles[name]}')
    assert choose.input_value() == "digits_cnn"
    choose.select_option("maml")
    expect(page.locator(".cm-content")).to_contain_text("a network learns to learn sine curves")
    assert printed(page).inner_text().startswith("Python is ready: Pyodide")


TRAINING = """
import sys
import matplotlib.pyplot as plt
import tensorgl as tg
x = tg.rand(64, 4, device="gl")
model = tg.nn.Linear(4, 1, device="gl")
optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(30):
    loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}, val_acc={epoch / 30:.3f}")
print("to stderr: loss 99", file=sys.stderr)
tg.utils.show(x[:4], "first inputs")
plt.plot([1, 2]); plt.title("shown"); plt.show()
plt.plot([1, 2]); plt.savefig("saved.png")
print("loss 0.125")
"""


def test_training_is_printed_and_drawn(page: Page) -> None:
    text = run(page, TRAINING)
    assert re.search(r"^epoch 29: loss 0\.\d{4}, val_acc=0\.967$", text, re.MULTILINE)
    assert re.search(r"^first step after \d+\.\d\d s$", text, re.MULTILINE)
    expect(printed(page).locator(".stderr")).to_have_text("to stderr: loss 99\n")
    curve = page.locator("#chart")
    expect(curve).to_be_visible()
    expect(curve).to_have_attribute("aria-label", "After 31 lines: loss 0.125, val_acc 0.967")
    legend = curve.locator(".u-legend").inner_text()
    assert "loss" in legend and "val_acc" in legend
    assert page.evaluate(PAINTED), "the curve has no colours"
    pictures = page.locator("#images figure")
    assert [p.inner_text().strip() for p in pictures.all()] == [
        "first inputs",
        "shown",
        "saved.png",
    ]
    sizes = [p.evaluate("(i) => i.naturalWidth") for p in pictures.locator("img").all()]
    assert sizes == [4, 640, 640]
    pictures.first.get_by_role("button").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


PAINTED = """() => {
  const canvas = document.querySelector("#chart canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const colourful = (k) => data[k + 3] && Math.max(...data.subarray(k, k + 3)) -
    Math.min(...data.subarray(k, k + 3)) > 60;
  let count = 0;
  for (let k = 0; k < data.length; k += 4) count += colourful(k) ? 1 : 0;
  return count > 100;
}"""


def test_device_panel(page: Page) -> None:
    run(page, TRAINING)
    page.locator("summary").click()
    facts = page.locator("#facts")
    names, values = facts.locator("dt").all_inner_texts(), facts.locator("dd").all_inner_texts()
    told = dict(zip(names, values, strict=True))
    assert re.fullmatch(
        r"Pyodide .* s, numpy .* s, tensorgl .* s, packages .* s, first step .* s", told["Start"]
    )
    assert "software" in told["Renderer"]
    assert int(told["Launches"].replace(",", "")) > 30
    assert re.fullmatch(
        r"[\d.]+ [kM]B in tensors, [\d.]+ [kM]B kept for others", told["GPU memory"]
    )
    assert not told["GPU memory"].startswith("0 ")
    assert told["texture size"].startswith("at most")
    page.locator("summary").click()


def test_counts_come_while_a_script_is_silent(page: Page) -> None:
    """They are asked for by the page; nothing of the script helps."""
    script = """
import tensorgl as tg
x = tg.rand(1000, device="gl")
while True:
    x = (x + 1).sqrt()
    x.cpu()
"""
    write(page, script)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#load")).to_contain_text("launches a step")
    stop(page)
    status(page, "^Stopped")


def test_stop_interrupts(page: Page) -> None:
    run(page, "kept = 1\nimport sys\nsys.kept = 1\n")
    write(page, "print('begun')\nwhile True:\n    pass\n")
    page.get_by_role("button", name="Run").click()
    expect(printed(page)).to_contain_text("begun")
    expect(page.get_by_role("button", name="Run")).to_be_disabled()
    stop(page)
    status(page, "^Stopped")
    expect(printed(page)).to_contain_text("KeyboardInterrupt")
    assert run(page, "import sys\nprint(sys.kept)\n") == "1\n", "it is another Python"


def test_stop_ends_a_script_that_does_not_listen(page: Page) -> None:
    script = """
import time
while True:
    try:
        while True:  # inside, as an interrupt may come between two turns
            print("here")
            time.sleep(0.1)
    except KeyboardInterrupt:
        pass
"""
    write(page, script)
    page.get_by_role("button", name="Run").click()
    expect(printed(page)).to_contain_text("here")
    stop(page)
    expect(printed(page)).to_contain_text("did not react")
    status(page, "^Ready")
    assert run(page, "print('again')\n") == "again\n"


def test_endless_output_is_bounded_and_the_page_answers(page: Page) -> None:
    write(page, "k = 0\nwhile True:\n    print(k)\n    k += 1\n")
    page.get_by_role("button", name="Run").click()
    expect(printed(page)).to_contain_text(re.compile(r"\b9\d\d\d\n"))
    page.locator("summary").click()
    expect(page.locator("#facts")).to_be_visible()
    page.locator("summary").click()
    stop(page)
    status(page, "^Stopped")
    assert printed(page).locator("span").count() <= 4000
    text = printed(page).inner_text()
    assert "KeyboardInterrupt" in text
    numbers = [int(line) for line in text.split() if line.isdigit()]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "lines are missing"


def test_errors(page: Page) -> None:
    run(page, "x = 1\n\nraise ValueError('no')\n", "^Exit code 1")
    expect(printed(page)).to_contain_text('script.py", line 3, in <module>')  # may be drawn later
    expect(printed(page).locator(".stderr").last).to_have_text("ValueError: no\n")
    run(page, "import sys\nsys.exit(3)\n", "^Exit code 3")


def test_progress_bars_are_one_line(page: Page) -> None:
    script = """
from tqdm import trange
import time
bar = trange(5, desc="training")
for k in bar:
    bar.set_postfix(loss=1 / (k + 1))
    bar.write(f"round {k}")
"""
    text = run(page, script)
    lines = text.strip().splitlines()
    assert lines[:5] == [f"round {k}" for k in range(5)]
    assert len(lines) == 6 and lines[5].startswith("training: 100%")
    label = page.locator("#chart").get_attribute("aria-label")
    assert label and label.endswith("loss 0.2")


def test_input(page: Page) -> None:
    write(page, "name = input('Who? ')\nprint('Hello,', name)\ninput()\n")
    page.keyboard.press("Control+Enter")
    line = page.get_by_label("The script waits for a line")
    expect(line).to_be_focused()
    line.fill("Ada Löve")
    page.keyboard.press("Enter")
    expect(printed(page)).to_have_text("Who? Ada Löve\nHello, Ada Löve\n")
    expect(line).to_be_visible()
    stop(page)
    status(page, "^Stopped")
    expect(line).to_be_hidden()


def test_keyboard(page: Page) -> None:
    write(page, "print('one')")
    page.keyboard.press("Control+Enter")
    expect(printed(page)).to_have_text("one\n")
    status(page, "^Finished")
    assert page.locator(".cm-content").inner_text() == "print('one')"
    expect(page.locator(".cm-content")).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    assert page.locator(".cm-content").inner_text() == "    print('one')"
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.locator(".cm-content")).not_to_be_focused()
    run_button = page.get_by_role("button", name="Run")
    write(page, "while True:\n    pass\n")
    run_button.focus()
    page.keyboard.press("Enter")
    status(page, "^Running")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    status(page, "^Stopped")
    expect(run_button).to_be_focused()


def test_dark_and_light(page: Page) -> None:
    background = "() => getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(background)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(background)
    assert dark != light
    toggle = page.get_by_role("button", name="Switch between dark and light")
    toggle.click()
    assert page.evaluate(background) == dark
    toggle.click()
    assert page.evaluate(background) == light


def test_device(page: Page) -> None:
    script = "import tensorgl as tg\nprint(tg.zeros(1).device)\n"
    for choice in ("gl", "cpu"):
        page.get_by_label("Device").select_option(choice)
        status(page, "^Ready")
        assert run(page, script) == f"{choice}\n"


def test_a_shared_script_waits_for_its_reader(page: Page, browser: Browser) -> None:
    script = "print('Grüße aus dem Link 🎓')\n"
    write(page, script)
    page.get_by_role("button", name="Share").click()
    expect(page.locator("#notice")).to_contain_text("link")
    link = page.url
    assert "#script=" in link
    other = opened(browser, link)
    try:
        expect(other.locator("#notice")).to_contain_text("Read it, then press Run")
        expect(other.locator(".cm-content")).to_contain_text("Grüße aus dem Link 🎓")
        status(other, "^Ready")
        assert "Grüße" not in printed(other).inner_text()
        other.get_by_role("button", name="Run").click()
        status(other, "^Finished")
        expect(printed(other)).to_have_text("Grüße aus dem Link 🎓\n")
        # What the person types takes its place, also after a reload.
        write(other, "mine = 1")
        expect(other).not_to_have_url(link)
        other.wait_for_timeout(500)
        other.reload()
        expect(other.locator(".cm-content")).to_have_text("mine = 1")
    finally:
        other.context.close()


def packed(data: bytes) -> str:
    deflate = zlib.compressobj(9, wbits=-15)
    return base64.urlsafe_b64encode(deflate.compress(data) + deflate.flush()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "fragment",
    [
        "script=",
        "script=%00%ff",
        "script=<script>alert(1)</script>",
        "script=AAAA",
        "script=" + packed(b"print(1)")[:-4],
        "script=" + packed(b"\xff\xfe not UTF-8"),
        "script=" + packed(bytes(16_000_000)),
        "script=" + "A" * 30_000,
    ],
    ids=["empty", "percent", "markup", "garbage", "cut", "no text", "bomb", "long"],
)
def test_a_hostile_link_changes_nothing(page: Page, fragment: str) -> None:
    write(page, "before = 1")
    page.evaluate(
        "(text) => { document.querySelector('#notice').textContent = ''; location.hash = text; }",
        fragment,
    )
    expect(page.locator("#notice")).to_contain_text("link")
    expect(page.locator("#notice")).not_to_contain_text("Run")
    assert page.locator(".cm-content").inner_text() == "before = 1"
    assert run(page, "print(2)") == "2\n"


def test_a_script_that_is_too_long_for_a_link(page: Page) -> None:
    noise = base64.b64encode(random.Random(0).randbytes(60_000)).decode()
    write(page, f"x = '{noise}'")
    page.get_by_role("button", name="Share").click()
    expect(page.locator("#notice")).to_contain_text("too long for a link")
    write(page, "x = 1")


def test_phone(browser: Browser, url: str) -> None:
    page = opened(browser, url, viewport={"width": 390, "height": 844}, color_scheme="dark")
    try:
        width = "() => document.documentElement.scrollWidth"
        assert page.evaluate(width) <= 390
        # Before Python is ready: it runs as soon as it can.
        write(page, "print('x' * 500)\nfor k in range(9): print('loss', k, 'accuracy', k)\n")
        page.get_by_role("button", name="Run").click()
        status(page, "^Finished")
        expect(page.locator("#chart")).to_be_in_viewport()
        assert page.evaluate(width) <= 390
        page.locator("summary").click()
        assert page.evaluate(width) <= 390
        for name in ("Run", "Stop", "Share", "Tune"):
            expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
    finally:
        page.context.close()


def test_embedding(browser: Browser, url: str) -> None:
    page = opened(browser, f"{url}embed.html")
    try:
        page.get_by_role("button").click()
        expect(page.locator("#log")).to_have_text(re.compile(r"step 200: loss 0\.0672"))
        page.get_by_role("textbox").fill("0,0\n1,1\n2,2")
        page.get_by_role("button").click()
        expect(page.locator("#log")).to_have_text(re.compile(r"step 200: loss 0\.00"))
    finally:
        page.context.close()


def test_serve_says_when_the_port_is_taken(url: str) -> None:
    port = url.rstrip("/").rsplit(":", 1)[-1]
    command = [sys.executable, "-m", "tensorgl", "serve", "--port", port]
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 1
    assert f"cannot listen on port {port}: another program uses it" in second.stderr
    assert "Traceback" not in second.stderr


def test_serve_ends_with_ctrl_c(server: tuple[subprocess.Popen[str], str], url: str) -> None:
    assert url.startswith("http://127.0.0.1:")
    command = [sys.executable, "-m", "tensorgl", "serve", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in said
