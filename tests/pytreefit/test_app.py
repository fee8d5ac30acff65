"""The explorer's parts that know no astronomy: sliders, state, code, fits in a thread, a token."""

import asyncio
import gc
import socket
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import pytreefit
from pytreefit import Model, Posterior, param
from pytreefit.app.background import BackgroundFit
from pytreefit.app.code import prior_code, priors_code, priors_table, values_code
from pytreefit.app.server import explore_command
from pytreefit.app.sliders import sliders_of
from pytreefit.app.state import Explorer
from pytreefit.prior import log_density


class Curve(Model):
    level: jnp.ndarray = param(unit="m", doc="how high")
    width: jnp.ndarray = param(bounds="(0, inf)")
    knots: jnp.ndarray = param(shape=(2,))


class Level(Model):
    level: jnp.ndarray = param()


def log_likelihood(curve):
    return -((curve.level - 1.5) ** 2) - jnp.log(curve.width) ** 2 - jnp.sum(curve.knots**2)


PRIORS = {
    "level": (0.0, 4.0),
    "width": dist.LogUniform(0.1, 1000.0),
    "knots": dist.Normal(0.0, 2.0),
}


class Sums(Explorer):
    exported = ".txt"

    def arrays(self, values=None):
        values = self._values if values is None else values
        return {"sum": sum(float(np.sum(value)) for value in values.values())}

    def code(self):
        return f"{self.recipe}curve = curve.set({values_code(self.posterior, self.model)})\n"

    def draw(self, document, title):
        from bokeh.models import Div

        document.add_root(Div(text=title))

    def export(self, path):
        raise OSError("no place")


@pytest.fixture
def explorer():
    posterior = Posterior(Curve(1.0, 2.0, [0.5, -0.5]), log_likelihood, PRIORS)
    return Sums(posterior, "curve = Curve(1.0, 1.0, [0.0, 0.0])\n")


def test_a_slider_for_each_number_between_the_ends_of_its_prior(explorer):
    level, width, first, second = explorer.sliders
    assert [s.name for s in explorer.sliders] == ["level", "width", "knots[0]", "knots[1]"]
    assert (level.unit, level.doc, level.log) == ("m", "how high", False)
    assert level.low == pytest.approx(0.0, abs=1e-3)
    assert level.high == pytest.approx(4.0, abs=1e-3)
    assert width.log
    assert width.value(0.5) == pytest.approx(10.0)  # the middle of its logarithm
    # of a normal prior what is likely, and no more
    assert first.high == pytest.approx(-first.low)
    assert 3.0 < first.high < 6.0
    assert second.index == (1,)
    for slider in explorer.sliders:
        for position in (0.0, 0.3, 1.0):
            assert slider.position(slider.value(position)) == pytest.approx(position)
        assert slider.position(slider.high + 1.0) == 1.0


def test_small_positive_values_are_moved_by_their_logarithm():
    posterior = Posterior(Curve(1.0, 0.01, [0.0, 0.0]), log_likelihood, {"width": (0.0, 5.0)})
    (slider,) = sliders_of(posterior)
    assert slider.log
    assert slider.low < 0.01 < slider.high < 5.0


def test_values_are_moved_and_refused(explorer):
    other = explorer.copy()
    explorer.set("knots[1]", 0.25)
    assert explorer.get("knots[1]") == 0.25
    assert np.array_equal(explorer.model.knots, [0.5, 0.25])
    assert other.get("knots[1]") == -0.5
    assert explorer.arrays()["sum"] == pytest.approx(3.75)
    assert explorer.arrays(other.values)["sum"] == pytest.approx(3.0)
    with pytest.raises(ValueError, match=r"level = 9 must be between 0 and 4, the ends of its"):
        explorer.set("level", 9.0)
    with pytest.raises(ValueError, match="'knot' has no slider; these have: level, width, knots"):
        explorer.set("knot", 1.0)
    with pytest.raises(ValueError, match="level = nan"):
        explorer.set("level", float("nan"))
    with pytest.raises(ValueError, match="width = -1"):
        explorer.move_to({"level": 2.0, "width": -1.0})
    assert explorer.get("level") == 1.0  # all or nothing
    explorer.reset()
    assert explorer.get("knots[1]") == -0.5


def test_labels_tell_sliders_apart(explorer):
    assert [explorer.label(s) for s in explorer.sliders] == [
        "level", "width", "knots[0]", "knots[1]",
    ]  # fmt: skip


def test_saved_and_loaded(explorer, tmp_path):
    explorer.set("level", 3.0)
    path = tmp_path / "curve.npz"
    explorer.save(path)
    assert float(pytreefit.load(path).level) == 3.0
    explorer.reset()
    explorer.load(path)
    assert explorer.get("level") == 3.0
    pytreefit.save(path, Level(1.0))
    with pytest.raises(ValueError, match="no parameter 'width'"):
        explorer.load(path)
    pytreefit.save(path, {"level": 1.0})
    with pytest.raises(ValueError, match="holds a dict, not a model"):
        explorer.load(path)


def test_code_makes_the_same_model_and_the_same_priors(explorer):
    explorer.set("width", 1.0 / 3.0)
    names = {"Curve": Curve, "dist": dist}
    exec(explorer.code(), names)
    assert np.array_equal(names["curve"].width, explorer.model.width)
    assert np.array_equal(names["curve"].knots, explorer.model.knots)
    priors = eval(priors_code(explorer.posterior), names)
    again = Posterior(explorer.model, log_likelihood, priors)
    at = {"level": 0.3, "width": 7.0, "knots": np.array([1.0, -2.0])}
    assert again.log_prior(at) == explorer.posterior.log_prior(at)


@pytest.mark.parametrize(
    "prior",
    [
        dist.LogNormal(0.5, 2.0),
        dist.HalfNormal(3.0),
        dist.TruncatedNormal(1.0, 0.7, low=0.2, high=3.0),
        dist.TruncatedNormal(1.0, 0.7, low=0.2),
    ],
)
def test_priors_as_python(prior):
    again = eval(prior_code(prior), {"dist": dist})
    at = jnp.asarray(0.6)
    assert log_density(again, at) == pytest.approx(float(log_density(prior, at)))


def test_priors_in_words():
    priors = {"level": dist.LogUniform(0.1, 10.0), "width": dist.TruncatedNormal(1.0, 0.5, low=0.0)}
    curve = Curve(level=1.0, width=1.0, knots=jnp.ones(2))
    printed = str(priors_table(Posterior(curve, log_likelihood, priors)))
    assert "0.1 to 10, uniform in the logarithm" in printed
    assert "Normal(loc=1, scale=0.5), cut off at low 0" in printed


def test_a_fit_in_the_background(explorer):
    running = BackgroundFit(explorer.posterior, explorer.values)
    found = running.result(60.0)
    assert found.converged
    assert not running.running
    assert running.lines[-1].startswith("fit: ")
    explorer.move_to(found.values)
    assert explorer.get("level") == pytest.approx(1.5, abs=1e-3)


def test_a_fit_that_is_stopped_returns_the_best_so_far(explorer):
    running = BackgroundFit(explorer.posterior, explorer.values, tolerance=1e-300)
    running.stop()
    assert running.result(60.0).message.startswith("Interrupted after")


def test_a_fit_that_is_refused_says_so(explorer):
    running = BackgroundFit(explorer.posterior, {"levels": 1.0})
    with pytest.raises(ValueError, match="levels"):
        running.result(60.0)


def page_of(explorer):
    """A page that draws nothing, in a document of its own."""
    pytest.importorskip("bokeh")
    from bokeh.document import Document
    from bokeh.models import Div

    from pytreefit.app.page import Page

    drawings = SimpleNamespace(layout=Div(), update=lambda _: None, facts=lambda _: {})
    return Page(Document(), explorer, "curve", drawings)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_two_sessions_have_a_page_each(explorer):
    pages = [page_of(explorer.copy()) for _ in range(2)]
    assert len({id(page.document) for page in pages}) == 2
    for page in pages:
        page._closed(None)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
def test_a_page_writes_over_no_file_that_was_there(explorer, tmp_path):
    page = page_of(explorer)
    own, other = tmp_path / "mine.npz", tmp_path / "other.npz"
    pytreefit.save(other, explorer.model)
    before = other.read_bytes()
    explorer.set("level", 2.0)
    for file, said in ((other, "is there already"), (own, "saved as"), (own, "saved as")):
        page.file.value = str(file)
        page._save()
        assert said in page.said.text
    assert other.read_bytes() == before
    page.file.value = str(other)
    page._load()
    explorer.set("level", 2.0)
    page._save()  # also if it was loaded: it may be a fit's
    assert "is there already" in page.said.text
    assert other.read_bytes() == before
    for value in ("", str(tmp_path)):
        page.file.value = value
        page._export()
        assert "no place" in page.said.text or "there already" in page.said.text
    page._closed(None)


@pytest.fixture
def served(explorer, servers):
    """A server in a thread of its own, and the address with its token."""
    pytest.importorskip("bokeh")
    from pytreefit.app.server import start_server

    ready, own = threading.Event(), {}

    def serve():
        asyncio.set_event_loop(asyncio.new_event_loop())
        own["server"], own["address"] = start_server(explorer, "disk")
        ready.set()
        own["server"].io_loop.start()

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(30.0)
    yield own["address"]

    def end():
        try:
            own["server"].stop()
        finally:
            own["server"].io_loop.stop()

    own["server"].io_loop.add_callback(end)
    thread.join(60.0)
    assert not thread.is_alive()


def status(address):
    try:
        with urllib.request.urlopen(address) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_page_is_for_this_computer_and_asks_for_its_token(served):
    place, _, token = served.partition("?bokeh-session-id=")
    assert place.startswith("http://localhost:")
    assert status(served) == 200
    assert status(place) == 403
    assert status(f"{place}?bokeh-session-id=guess") == 403
    assert status(f"{place}?bokeh-session-id={token[:-1]}{'A' if token[-1] != 'A' else 'B'}") == 403
    assert status(f"{place}autoload.js?bokeh-autoload-element=1") == 403
    # and nothing of it listens on the other addresses of this machine
    port = int(place.rpartition(":")[2].strip("/"))
    with socket.socket() as other:
        other.settimeout(2.0)
        assert other.connect_ex(("127.0.0.2", port)) != 0


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
def test_no_messages_are_taken_without_the_token(served):
    from tornado.httpclient import HTTPRequest
    from tornado.websocket import websocket_connect

    place = served.partition("?")[0]

    async def answer(protocols):
        headers = {"Origin": place.rstrip("/")}
        request = HTTPRequest(place.replace("http", "ws") + "ws", headers=headers)
        connection = await websocket_connect(request, subprotocols=protocols)
        try:
            return await asyncio.wait_for(connection.read_message(), 10.0)
        finally:
            connection.close()

    def first_message(*protocols):
        try:
            return asyncio.run(answer(list(protocols)))
        except Exception as error:
            return error

    for protocols in ((), ("bokeh", "guess")):
        refused = first_message(*protocols)
        assert refused is None or isinstance(refused, Exception)  # closed, or never opened
    with urllib.request.urlopen(served) as page:
        token = page.read().decode().partition('"token":"')[2].partition('"')[0]
    assert "ACK" in first_message("bokeh", token)
    gc.collect()  # connections that were refused complain at their end


def test_without_bokeh_a_sentence_says_what_to_install(monkeypatch):
    from pytreefit.app import server

    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'grater-spotgp\[app\]'"):
        server.require_app()


# of a socket that Bokeh leaves behind
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_port_that_is_taken(explorer):
    pytest.importorskip("bokeh")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} cannot be used"):
            explorer.open(port=port, browser=False)
        made = []
        command = explore_command("Help.", made.append, (), files="", priors="")
        with pytest.raises(ValueError, match=f"port {port} cannot be used"):
            command.run(SimpleNamespace(port=port, browser=False))
        assert not made  # nothing is searched for before
