"""What to cite for a model, and that the entries are good BibTeX."""

import re

import jax
import numpy as np
import pytest

import grater
import spotgp
from pytreefit import Posterior, cite
from pytreefit.references import _SOURCES


def keys(found):
    return [paper.key for paper in found]


def scene(**options):
    disk = grater.Disk(40.0, 60.0, 0.0, alpha_in=5.0, alpha_out=-5.0, scale_height=2.0, **options)
    return grater.Scene(disk, grid=grater.Grid((9, 9), 0.2, 60.0))


def test_a_component_brings_its_paper():
    assert keys(cite(scene())) == ["grater_spotgp", "Augereau1999"]
    assert "Henyey1941" in keys(cite(scene(phase=grater.HenyeyGreenstein(0.3))))


def test_a_posterior_brings_those_of_its_data():
    light = grater.Starlight(np.ones((1, 9, 9)))
    options = {"pixel_scale": 0.2, "distance": 60.0, "starlight": light}
    data = grater.Observation(np.zeros((9, 9)), 1.0, **options)
    posterior = Posterior(scene(), data.log_likelihood, {"disk.flux": (0.1, 9.0)})
    assert {"Augereau1999", "Lafreniere2007"} <= set(keys(cite(posterior)))


def test_only_a_polarised_channel_brings_that_of_polarisation():
    assert "Schmid2006" not in keys(cite(grater.Channel()))
    assert "Schmid2006" in keys(cite(grater.Channel(stokes="Q_phi")))


def test_the_solver_of_a_light_curve_counts():
    star = spotgp.SpotEvolutionModel(
        spotgp.ExponentialEnvelope(tau_spot=4.0),
        spotgp.VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
        sigma_k=0.01,
    )
    t = np.arange(9.0)
    found = {
        solver: keys(cite(spotgp.GPSolver(t, np.ones(9), 1e-3, star, solver=solver)))
        for solver in ("dense", "quasiseparable")
    }
    assert "Rasmussen2006" in found["dense"]
    assert set(found["quasiseparable"]) - set(found["dense"]) == {
        "Hartikainen2010",
        "ForemanMackey2017",
    }


def test_text_and_bibliography():
    found = cite([scene(), {"again": scene()}], jax.numpy.ones(3), None)
    assert "Augereau et al. 1999, A&A 348, 557" in repr(found)
    assert found.bibtex.count("@article{Augereau1999,") == 1


@pytest.mark.parametrize("kind", _SOURCES, ids=lambda kind: kind.__name__)
def test_entries_are_whole(kind):
    papers = _SOURCES[kind]
    for paper in () if callable(papers) else papers:
        assert paper.bibtex.count("{") == paper.bibtex.count("}")
        assert re.fullmatch(r"[A-Za-z_]+\d{4}", paper.key)
        assert paper.key.endswith(str(paper.year))
        assert paper.text.endswith(str(paper.pages or paper.where))
