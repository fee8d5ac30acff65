"""The page of a survey and of a target, read as a browser does."""

import html.parser

import pytest
from matplotlib.figure import Figure

from pytreefit import survey
from pytreefit.extend import run_program
from pytreefit.survey.commands import SHOW

NASTY = "<script>alert(1)</script> & Co"


class Page(html.parser.HTMLParser):
    """Text of the cells of all tables, row by row, and what else there is."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    @property
    def images(self):
        return [attrs["src"] for tag, attrs in self.tags if tag == "img"]


def work(name, task, key):
    if task == 3:
        raise ValueError(NASTY)
    flags = ("alias of a day" if task % 2 else "") + (f"; gain {task}.5 only" if task > 5 else "")
    row = {"period": 2.0**task, "period_error": 0.1 * task, "note": NASTY, "flags": flags}
    return row | {"spin": float("nan") if task == 4 else float(task), "spin_error": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("report") / "store"
    survey.run({f"star {k}": k for k in range(8)}, work, place, progress=False)
    return place


def test_a_survey_as_a_page(folder, tmp_path):
    file = survey.report(folder, tmp_path / "page.html")
    text = file.read_text()
    page = Page(text)
    assert "7 done, 1 failed" in text
    assert ["1", f"ValueError: {NASTY}"] in page.rows
    assert ["3", "43 %", "alias of a day"] in page.rows
    assert ["2", "29 %", "gain ... only"] in page.rows
    assert not any(tag == "script" for tag, _ in page.tags)  # all text is text
    assert len(page.images) == 1
    assert page.images[0].startswith("data:image/png;base64,")
    order = [row[0] for row in page.rows if row and row[0].startswith("star")]
    # the failed, those with flags, the others
    assert order == [f"star {k}" for k in (3, 1, 5, 6, 7, 0, 2, 4)]
    few = Page(survey.report(survey.Store(folder), file, most=2).read_text())
    assert [row[0] for row in few.rows if row and row[0].startswith("star")] == order[:2]


def test_a_target_as_a_page(folder, tmp_path):
    seen = []

    def plot(name, record):
        seen.append((name, record.row["period"]))
        return Figure(figsize=(1, 1))

    page = Page(survey.report(folder, tmp_path / "a.html", "star 7", plot=plot).read_text())
    assert seen == [("star 7", 128.0)]
    assert ["period", "128", ""] in page.rows
    assert len(page.images) == 2
    failed = survey.report(folder, tmp_path / "a.html", "star 3").read_text()
    assert "Failed: ValueError: &lt;script&gt;" in failed


def test_what_it_refuses(folder, tmp_path):
    for options, message in (
        ({"target": "sun"}, "no target 'sun'"),
        ({"plot": print}, "give target too"),
        ({"most": 0}, "most"),
    ):
        with pytest.raises(ValueError, match=message):
            survey.report(folder, tmp_path / "x.html", **options)
    survey.run({}, work, tmp_path / "none", progress=False)
    with pytest.raises(ValueError, match="no rows yet"):
        survey.report(tmp_path / "none", tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_the_command_writes_it(folder, tmp_path, capsys):
    file = tmp_path / "page.html"
    line = ["show", "--store", str(folder), "--report", str(file), "--target", "star 1"]
    assert run_program("prog", "About.", [SHOW], line) == 0
    assert str(file) in capsys.readouterr().out
    assert ["period", "2", ""] in Page(file.read_text()).rows
