"""The program ``grater``: a disk is simulated into a file and found in it again."""

import argparse

import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.io import fits

import grater
import pytreefit
from grater.commands import fit as commands, main
from grater.commands.fit import OPTIONS, check_priors, start
from grater.commands.reading import optics_of, read, warn_of_distances
from grater.commands.survey import own_priors, seen, summary
from pytreefit.extend import prior_limits, prior_of

RING = "--radius 20 --inclination 60 --position-angle 40 --alpha-in 6 --alpha-out -5"
IMAGE = "--scale-height 1 --distance 60 --pixel-scale 0.06 --size 25 --fwhm 2 --noise 0.04"


@pytest.fixture(autouse=True)
def without_cache(monkeypatch):
    monkeypatch.setattr("grater.commands.program.cache_programs", lambda: None)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.fits"
    assert main(["simulate", *RING.split(), *IMAGE.split(), "--output", str(path)]) == 0
    return path


@pytest.mark.slow  # `make examples` runs it on real data
@pytest.mark.filterwarnings("ignore::UserWarning")  # of so few draws
def test_from_a_file_to_a_posterior(image, tmp_path, capsys):
    start = "--radius 21 --inclination 57 --position-angle 35".split()
    seen = "--distance 60 --fwhm 2 --inner 1 --knots 2 --noise independent".split()
    how = "--chains 1 --warmup 60 --draws 40 --acceptance 0.8".split()
    line = ["fit", str(image), *start, *seen, *how, "--output", str(tmp_path)]
    fixed = ("disk.offset_x", "disk.offset_y", "disk.vertical.scale_height")
    assert main([*line, *(f"--prior={name}=fixed" for name in fixed)]) == 0
    said = capsys.readouterr().out
    for word in ("chi-square", "R-hat", "simulated_disk", "figures and draws in"):
        assert word in said
    own = tmp_path / "simulated_disk"
    found = {path.name for path in own.iterdir()}
    assert found == {"samples.npz", "settings.toml", "fit.png", "phase_function.png", "corner.png"}
    samples = pytreefit.Samples.load(own / "samples.npz")
    for name, truth in (("inclination", 60.0), ("position_angle", 40.0)):
        draws = np.ravel(samples.draws[f"disk.{name}"])
        assert abs(np.mean(draws) - truth) < 5.0 * np.std(draws)
    assert not set(fixed) & set(samples.draws)


def test_the_start_is_inside_of_the_priors_that_are_given(image):
    settings = argparse.Namespace(**{option.name: option.default for option in OPTIONS})
    vars(settings).update(distance=60.0, fwhm=2.0, inner=1.0, knots=2, files=[image])
    own = {
        "disk.inclination": (100.0, 110.0),  # the other near side
        "disk.position_angle": dist.TruncatedNormal(300.0, 9.0, low=290.0, high=310.0),
        "disk.phase.values": (0.2, 0.5),
        "disk.offset_x": None,
    }
    rough = {"radius": 21.0, "inclination": 57.0, "position_angle": 35.0}
    vars(settings).update(rough, priors=own)
    data = read(image, settings)
    scene, priors = start(data, settings)
    assert "disk.offset_x" not in priors
    assert 100.0 < float(scene.disk.inclination) < 110.0
    assert 290.0 < float(scene.disk.position_angle) < 310.0
    assert np.all(np.asarray(scene.disk.phase.values) < 0.5)
    pytreefit.Posterior(scene, data.log_likelihood, priors)  # which refuses other starts


def test_normal_priors_end_at_bounds_and_fixed_values_are_kept(image):
    settings = argparse.Namespace(**{option.name: option.default for option in OPTIONS})
    vars(settings).update(distance=60.0, fwhm=2.0, inner=1.0, knots=2, radius=21.0)
    settings.files = [image]
    given = {
        "disk.inclination": "normal:170:9",
        "disk.radial.alpha_in": "fixed:7",
        "disk.position_angle": "fixed:33",
        "disk.phase.values": "fixed:0.4",
    }
    vars(settings).update(inclination=57.0, priors={n: prior_of(p) for n, p in given.items()})
    check_priors(settings)
    data = read(image, settings)
    scene, priors = start(data, settings)
    assert prior_limits(priors["disk.inclination"]) == (0.0, 180.0)
    assert not {"disk.radial.alpha_in", "disk.position_angle"} & priors.keys()
    assert (float(scene.disk.radial.alpha_in), float(scene.disk.position_angle)) == (7.0, 33.0)
    np.testing.assert_allclose(scene.disk.phase.values, [0.4, 0.4], rtol=1e-6)


def test_ctrl_c_in_a_fit_ends_the_command(monkeypatch):
    stopped = argparse.Namespace(status=pytreefit.Status.INTERRUPTED)
    monkeypatch.setattr(commands, "fit", lambda *_, **__: stopped)
    with pytest.raises(KeyboardInterrupt):
        commands.best_fit(None, None, None)


def test_what_is_simulated_is_north_up_with_the_star_where_it_says(image):
    with fits.open(image) as hdus:
        assert hdus["SCI"].data.shape == (25, 25)
        assert np.allclose(hdus["ERR"].data, 0.04)
        assert 0.8 < np.max(hdus["SCI"].data) < 1.2
        assert hdus["SCI"].header["PSFCENTX"] == 12.0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "the distance of simulated disk is not known here: give --distance"),
        ("--distance 60 --prior disk.incl=1:20", "disk.incl"),
        (
            "--distance 60 --prior disk.inclination=100:200",
            "disk.inclination: 100 to 200 is not within what is possible, [0, 180] deg",
        ),
        ("--distance 60 --pixel-scale 0.03", "give the right --pixel-scale."),
        ("--distance 60 --hdu NONE", "no image in an HDU 'NONE'"),
        ("--distance 60 --inner 1 --psf {}", "holds no image"),
        ("--distance 60 --inner 1", "not known: give --psf or --fwhm"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(image, tmp_path, capsys, line, says):
    cube = tmp_path / "cube.fits"
    fits.PrimaryHDU(np.ones((3, 5, 5))).writeto(cube)
    start = "--radius 21 --inclination 57 --position-angle 35".split()
    line = ["fit", str(image), *start, *line.format(cube).split(), "--output", str(tmp_path)]
    assert main(line) == 1
    said = capsys.readouterr().err
    assert said.startswith("grater fit: ")
    assert says in said


def test_radial_cubes_are_seen_as_polarised_light(image, tmp_path):
    radial, broken = tmp_path / "cube.fits", tmp_path / "broken.fits"
    header = fits.Header({"STKESTYP": "RADIAL", "IFSFILT": "IFSFILT_H_G1213"})
    fits.PrimaryHDU(np.ones((3, 5, 5)), header).writeto(radial)
    broken.write_bytes(b"no FITS file")
    settings = argparse.Namespace(psf=None, fwhm=None, stokes=None)
    found = optics_of([radial, broken], settings)
    assert (float(found["psf"].fwhm), found["stokes"]) == (3.8, "Q_phi")
    data = argparse.Namespace(grid=grater.Grid((25, 25), 0.014, 70.0), shape=(25, 25))
    (channel,) = seen(found, data).channels.values()
    assert channel.stokes == "Q_phi"
    assert isinstance(seen(found, data).disk.phase, grater.Polarized)
    fits.setval(radial, "IFSFILT", value="IFSFILT_K1_G1214")
    with pytest.raises(ValueError, match="not known: give --psf or --fwhm"):
        optics_of([radial], settings)
    settings.fwhm = 2.0
    assert set(optics_of([image], settings)) == {"psf"}
    said = argparse.Namespace(psf=None, fwhm=2.0, stokes="U_phi")
    assert optics_of([image], said)["stokes"] == "U_phi"  # an image of one plane
    with pytest.raises(ValueError, match="a survey of each kind"):
        optics_of([image, radial], settings)


def test_what_a_survey_prints():
    ring = {"semi_major_axis": (47.6612, 0.6213), "inclination": (105.9, np.nan)}
    ring["position_angle"] = (179.65, 0.1963)
    row = {f"disk.{name}": value for name, (value, _) in ring.items()}
    row |= {f"disk.{name}_error": error for name, (_, error) in ring.items()}
    row |= {"flags": "not converged", "at_edge": "disk.flux"}
    held = row | {"at_edge": "disk.flux disk.inclination"}
    printed = str(summary({"one": row, "two": held}))
    for text in ("radius, au", "47.66 +- 0.62", "105.9 +- nan", "179.65 +- 0.20", "not converged"):
        assert text in printed
    assert "105.9 (at its edge)" in printed


def test_priors_of_a_survey_are_for_a_ring():
    def priors(**given):
        given = {f"disk.{name}": prior for name, prior in given.items()}
        return own_priors(argparse.Namespace(priors=given), {"psf": grater.GaussianPSF(2.0)})

    found = priors(inclination=(70.0, 89.0), position_angle=dist.Normal(30.0, 5.0))
    assert found["disk.inclination"] == (70.0, 89.0)
    assert prior_limits(priors(inclination=dist.Normal(80.0, 90.0))["disk.inclination"])[1] <= 180.0
    for prior in (None, prior_of("fixed:80")):
        with pytest.raises(ValueError, match="inclination cannot be fixed in a survey"):
            priors(inclination=prior)
    with pytest.raises(ValueError, match="not within what is possible"):
        priors(inclination=(170.0, 190.0))
    with pytest.raises(ValueError, match="inclinaton"):
        priors(inclinaton=(70.0, 89.0))


def test_a_survey_keeps_what_failed(image, tmp_path, capsys):
    store = str(tmp_path / "store")
    line = ["survey", str(image), "--store", store]
    assert main(line) == 1
    assert "give --psf or --fwhm" in capsys.readouterr().err
    assert main([*line, "--fwhm", "2"]) == 1  # without a distance
    assert "1 have no fit (disk)" in capsys.readouterr().err
    assert main(["show", "--store", store, "--target", "disk"]) == 0
    assert "give --distance" in capsys.readouterr().out


def test_a_psf_of_finer_pixels_and_one_of_another_scale(image, tmp_path, capsys):
    path = tmp_path / "psf.fits"
    header = fits.Header({"OVERSAMP": 2, "PIXELSCL": 0.03})
    row, column = np.indices((17, 17)) - 8
    fits.PrimaryHDU(np.exp(-(row**2 + column**2) / 9.0), header).writeto(path)
    settings = argparse.Namespace(psf=path, psf_center=None, stokes=None)
    found = optics_of([image], settings)
    assert (found["psf"].oversample, found["oversample"]) == (2, 2)
    scene = seen(found, argparse.Namespace(grid=grater.Grid((25, 25), 0.06, 60.0), shape=(25, 25)))
    assert scene.view.oversample == 2
    fits.setval(path, "PIXELSCL", value=0.06)
    line = ["fit", str(image), "--distance", "60", "--psf", str(path), "--output", str(tmp_path)]
    assert main(line) == 1
    assert "is for pixels of 0.12 arcsec (PIXELSCL), and the image" in capsys.readouterr().err


def test_a_distance_for_several_stars_is_said(image, tmp_path):
    known = tmp_path / "known.fits"
    fits.PrimaryHDU(np.ones((5, 5)), fits.Header({"OBJECT": "HR 4796A"})).writeto(known)
    warn_of_distances([image, known], argparse.Namespace(distance=None))
    with pytest.warns(UserWarning, match="HR 4796A is at 71.9 pc .*, and distance=60 is taken"):
        warn_of_distances([known], argparse.Namespace(distance=60.0))
    warn_of_distances([known], argparse.Namespace(distance=71.9))
    with pytest.warns(UserWarning, match="taken for 2 stars: simulated disk, HR 4796A"):
        warn_of_distances([image, known], argparse.Namespace(distance=71.9))


def test_a_psf_file_without_an_image_is_named(image, tmp_path, capsys):
    empty, text = tmp_path / "empty.fits", tmp_path / "psf.fits"
    fits.PrimaryHDU().writeto(empty)
    text.write_text("no image")
    line = ["fit", str(image), "--distance", "60", "--output", str(tmp_path / "out")]
    for path, said in ((empty, "holds no image: its HDUs are 0"), (text, "is no FITS file")):
        assert main([*line, "--psf", str(path)]) == 1
        told = capsys.readouterr().err
        assert f"{path} {said}" in told
        assert "argument in Python" not in told
    assert not (tmp_path / "out").exists()


def test_a_survey_knows_what_is_in_its_error_map(image, tmp_path, capsys):
    error = tmp_path / "error.fits"
    fits.PrimaryHDU(np.full((25, 25), 0.04, np.float32)).writeto(error)
    broken = tmp_path / "broken.fits"
    broken.write_text("no image")
    line = ["survey", str(broken), "--distance", "60", "--fwhm", "2", "--engine", "threads"]
    line += ["--store", str(tmp_path / "store"), "--error"]
    assert main([*line, str(error)]) == 1
    assert "1 have no fit (broken)" in capsys.readouterr().err
    fits.PrimaryHDU(np.full((25, 25), 0.2, np.float32)).writeto(error, overwrite=True)
    assert main([*line, str(error)]) == 1
    assert "error = error.fits" in capsys.readouterr().err
