"""The explorers in a real browser: a slider is dragged, a fit runs, the code is copied and run.

It needs playwright, Bokeh and Debian's chromium, and skips where there are none; ``make browser``
installs the first two. ``SCREENSHOTS`` names a folder for pictures of the pages.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("bokeh", reason="the explorer needs bokeh: pip install '.[app]'")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: pip install '.[browser]', or make browser"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no chromium: apt-get install chromium", allow_module_level=True)

PATIENCE = 300.0  # seconds
DISK = {
    "simulate": "--size 141 --pixel-scale 0.014 --distance 72 --radius 60 --inclination 75 --fwhm "
    "3.8 --noise 0.08",
    "explore": "--distance 72 --radius 58 --inclination 73 --position-angle 33 --fwhm 3.8 "
    "--knots 4 --prior disk.offset_x=fixed:0.3 --prior disk.offset_y=fixed",
}
STAR = {
    "simulate": "--period 9 --days 80 --cadence 120 --lifetime 25 --noise 4e-4 --seed 4",
    "explore": "--points 250",
}


def command(program, *line):
    code = f"import sys; from {program}.commands import main; sys.exit(main())"
    return [sys.executable, "-c", code, *line]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened(program, settings, folder, browser):
    """The page of a simulated file, and how its server ended."""
    file = str(folder / ("disk.fits" if program == "grater" else "simulated_star.ecsv"))
    line = command(program, "simulate", *settings["simulate"].split(), "--output", file)
    subprocess.run(line, check=True, cwd=folder)
    line = command(program, "explore", file, *settings["explore"].split(), "--no-browser")
    said = folder / "said.txt"
    how = {"cwd": folder, "stderr": subprocess.STDOUT}
    with open(said, "w") as output, subprocess.Popen(line, stdout=output, **how) as server:
        try:
            until = time.monotonic() + PATIENCE
            while not (found := re.search(r"http://\S+", said.read_text())):
                assert server.poll() is None, said.read_text()
                assert time.monotonic() < until
                time.sleep(0.3)
            page = browser.new_page(viewport={"width": 1400, "height": 860})
            errors = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(found.group())
            yield page
            page.close()
            assert errors == []
        finally:
            server.terminate()
    assert "Traceback" not in said.read_text(), said.read_text()


@pytest.fixture(scope="module")
def disk(browser, tmp_path_factory):
    yield from opened("grater", DISK, tmp_path_factory.mktemp("disk"), browser)


@pytest.fixture(scope="module")
def star(browser, tmp_path_factory):
    yield from opened("spotgp", STAR, tmp_path_factory.mktemp("star"), browser)


def pixels(page, name):
    """What a figure looks like, as an array."""
    return np.asarray(Image.open(io.BytesIO(figure(page, name).screenshot())).convert("RGB"))


def model(page, name):
    """JavaScript that finds a model of Bokeh by its name."""
    return f"Bokeh.documents[0].get_model_by_name({name!r})"


def figure(page, name):
    """The place of a model on the page."""
    view = f"Bokeh.index.find_one({model(page, name)})"
    page.evaluate(f"{view}.el.setAttribute('data-test', {name!r})")
    return page.locator(f"[data-test={name!r}]")


def drag(page, name, share):
    """Take a slider with the mouse, and move it along by a share of its length."""
    handle, bar = (figure(page, name).locator(css) for css in (".noUi-handle", ".noUi-base"))
    place, length = handle.bounding_box(), bar.bounding_box()["width"]
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for k in range(1, 6):
        page.mouse.move(x + share * length * k / 5, y)
    page.mouse.up()


def settled(page, name, unlike=None):
    """The pixels of a figure, once they are other ones than before and no longer change."""
    last, until = pixels(page, name), time.monotonic() + 60.0
    while unlike is not None and np.array_equal(last, unlike):
        assert time.monotonic() < until, f"{name} does not change"
        time.sleep(0.1)
        last = pixels(page, name)
    for _ in range(40):
        time.sleep(0.5)
        now = pixels(page, name)
        if np.array_equal(now, last):
            return now
        last = now
    raise AssertionError(f"{name} goes on changing")


def changed(before, after):
    """The share of pixels that differ."""
    return np.mean(np.any(before != after, axis=-1))


def click(page, name):
    figure(page, name).locator("button").click()


def value(page, name):
    return page.evaluate(f"{model(page, name)}.value")


def number(page, name):
    return float(value(page, f"number {name}"))


def fact(page, name):
    """A number at the head of the page."""
    text = page.evaluate(f"{model(page, 'facts')}.text")
    return float(re.search(rf"{name} <b>([-\d.]+)", text).group(1))


def wait(page, condition, seconds=60.0):
    page.wait_for_function(condition, timeout=1e3 * seconds)


def fitted(page):
    """Start a fit, see progress, and return what it says at its end."""
    click(page, "fit from here")
    wait(page, f"{model(page, 'said')}.text.includes('step')", PATIENCE)
    wait(page, f"!{model(page, 'fit from here')}.disabled", PATIENCE)
    # a machine that is busy shows it a moment later
    wait(page, f"!{model(page, 'said')}.text.includes('fit: step')")
    return page.evaluate(f"{model(page, 'said')}.text")


def copied(page):
    """Copy as Python, run it, and return what it printed."""
    click(page, "copy as Python")
    wait(page, f"{model(page, 'code')}.value != ''")
    line = [sys.executable, "-c", value(page, "code")]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


def picture(page, name):
    """Keep what the page looks like, where that is asked for."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.mouse.move(5, 850)
        end = "area => { area.scrollTop = area.scrollHeight }"
        figure(page, "code").locator("textarea").evaluate(end)
        seen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        seen.quantize(160).save(Path(folder) / f"{name}.png", optimize=True)


def ready(page, name):
    wait(page, f"window.Bokeh && Bokeh.documents.length && {model(page, name)} != null")
    return settled(page, name)


def test_a_disk_is_dragged_fitted_and_copied(disk):
    images = ("data", "model", "residual")
    before = {name: ready(disk, name) for name in images}
    inclination = number(disk, "disk.inclination")
    drag(disk, "slider disk.inclination", -0.2)
    moved = {"model": before["model"], "residual": before["residual"]}
    after = {name: settled(disk, name, moved.get(name)) for name in images}
    assert number(disk, "disk.inclination") < inclination - 3.0
    assert changed(before["model"], after["model"]) > 0.02
    assert changed(before["residual"], after["residual"]) > 0.02
    assert changed(before["data"], after["data"]) == 0.0

    figure(disk, "stretch").get_by_text("log").click()
    stretched = settled(disk, "data", after["data"])
    assert changed(after["data"], stretched) > 0.3
    figure(disk, "stretch").get_by_text("asinh").click()

    said = fitted(disk)
    assert "onverged" in said, said
    assert number(disk, "disk.inclination") == pytest.approx(75.0, abs=0.5)
    assert changed(after["model"], settled(disk, "model", after["model"])) > 0.02
    assert 0.9 < fact(disk, "reduced") < 1.1
    printed = float(re.search(r"chi-square ([\d.]+)", copied(disk)).group(1))
    assert printed == pytest.approx(fact(disk, "χ²"), rel=1e-3)
    picture(disk, "explore_disk")


def test_a_star_is_dragged_fitted_and_copied(star):
    figures = ("light curve", "autocorrelation", "spectrum", "sphere")
    before = {name: ready(star, name) for name in figures}
    drag(star, "slider model.visibility.peq", 0.25)
    moved = {name: before[name] for name in ("autocorrelation", "spectrum")}
    after = {name: settled(star, name, moved.get(name)) for name in figures}
    assert changed(before["autocorrelation"], after["autocorrelation"]) > 0.005
    assert changed(before["spectrum"], after["spectrum"]) > 0.005

    period = star.evaluate(
        "[...Bokeh.documents[0]._all_models.values()]"
        ".find(one => (one.name ?? '').startsWith('period ')).name"
    )
    click(star, period)
    wait(star, f"{model(star, 'facts')}.text.includes('<b>{period.split()[1]} d')")
    said = fitted(star)
    assert "onverged" in said, said
    sphere = settled(star, "sphere")
    click(star, "turn")
    time.sleep(2.0)
    click(star, "turn")
    assert changed(sphere, settled(star, "sphere")) > 0.02
    printed = float(re.search(r"log likelihood ([-\d.]+)", copied(star)).group(1))
    assert printed == pytest.approx(fact(star, "ln L"), abs=0.01)
    picture(star, "explore_star")


def test_a_value_that_is_not_possible_is_refused_in_a_sentence(disk):
    ready(disk, "model")
    box = figure(disk, "number disk.inclination").locator("input")
    place = value(disk, "slider disk.inclination")
    box.fill("123")
    box.press("Enter")
    wait(disk, f"{model(disk, 'said')}.text.includes('must be between')")
    box.fill("many")
    box.press("Enter")
    wait(disk, f"{model(disk, 'said')}.text.includes('is no number')")
    box.fill("74.25")
    box.press("Enter")
    wait(disk, f"Math.abs({model(disk, 'slider disk.inclination')}.value - {place}) > 1")
    assert number(disk, "disk.inclination") == 74.25
    assert abs(value(disk, "slider disk.inclination") - 672) < 1
