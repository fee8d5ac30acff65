"""How long after a slider has moved does the page of an explorer show it?

    python benchmarks/explorer.py

A disk of 141 x 141 pixels and a star are simulated, `explore` opens their pages in chromium, and
a slider goes on as soon as what followed from its last place is drawn. It needs playwright and
chromium (``make browser``).
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time

import common
import numpy as np
from playwright.sync_api import sync_playwright

PAGES = {
    "disk": {
        "program": "grater",
        "simulate": "--size 141 --pixel-scale 0.014 --distance 72 --radius 60 --inclination 75 "
        "--fwhm 3.8 --noise 0.08",
        "explore": "--distance 72 --radius 58 --inclination 73 --position-angle 33 --fwhm 3.8 "
        "--knots 4",
        "slider": "slider disk.inclination",
        "drawn": "residual",
        "what": "141 x 141 pixels",
    },
    "star": {
        "program": "spotgp",
        "simulate": "--period 9 --days 80 --cadence 120 --lifetime 25 --noise 4e-4 --seed 4",
        "explore": "--points 250",
        "slider": "slider model.visibility.peq",
        "drawn": "spectrum",  # the last that is sent
        "what": "250 points",
    },
}
# from the slider's new value to the frame after that in which the new data were drawn
MOVE = """([slider, drawn, share]) => new Promise(done => {
  const page = Bokeh.documents[0], own = page.get_model_by_name(slider)
  const {data} = page.get_model_by_name(drawn).renderers.at(DRAWN).data_source.properties
  const began = performance.now()
  const seen = () => {
    data.change.disconnect(seen)
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)))
  }
  data.change.connect(seen)
  own.value = Math.round(own.start + share * (own.end - own.start))
})"""


def served(page, folder):
    """The server of a simulated file's page, and its address."""
    code = f"import sys; from {page['program']}.commands import main; sys.exit(main())"
    run, file = [sys.executable, "-c", code], f"{folder}/simulated.fits"
    if page["program"] == "spotgp":
        file = f"{folder}/simulated.ecsv"
    line = [*run, "simulate", *page["simulate"].split(), "--output", file]
    subprocess.run(line, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    line = [*run, "explore", file, *page["explore"].split(), "--no-browser"]
    server = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, text=True)
    for said in server.stdout or ():
        if found := re.search(r"http://\S+", said):
            return server, found.group()
    raise SystemExit(f"{page['program']} explore ended with {server.wait()}")


def delays(browser, page, number):
    """Milliseconds of each move."""
    with tempfile.TemporaryDirectory() as folder:
        server, address = served(page, folder)
        try:
            seen = browser.new_page(viewport={"width": 1400, "height": 860})
            seen.goto(address)
            ready = f"Bokeh.documents[0].get_model_by_name({page['drawn']!r}) != null"
            seen.wait_for_function(f"window.Bokeh && Bokeh.documents.length && {ready}")
            time.sleep(5.0)
            move = MOVE.replace("DRAWN", "1" if page["program"] == "spotgp" else "0")
            shares = 0.5 + 0.2 * np.sin(np.arange(number))
            found = [
                seen.evaluate(move, [page["slider"], page["drawn"], float(share)])
                for share in shares
            ]
            seen.close()
        finally:
            server.terminate()
            server.wait()
    return found[number // 4 :]  # the first ones compile


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--number", type=int, default=60)
    args = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    rows = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, page in PAGES.items():
            took = delays(browser, page, args.number)
            rows.append(
                {
                    "page": name,
                    "what": page["what"],
                    "median, ms": round(float(np.median(took)), 1),
                    "9 of 10 within, ms": round(float(np.quantile(took, 0.9)), 1),
                }
            )
            print(rows[-1])
    common.record("explorer", rows)


if __name__ == "__main__":
    main()
