"""`jgr sample` on a small VAE that was trained; what else pictures hold is tested in jobs/explore."""

import re

import numpy as np
import pytest
from PIL import Image

import jgr
from jgr.cli.main import main
from jgr.data.digits import Digits
from jgr.images import grid


@pytest.fixture
def drawn(capsys, vae_run, tmp_path):
    """What `jgr sample` draws of the run, and what it prints before the picture's path."""

    def draw(*arguments):
        out = tmp_path / "picture.png"
        capsys.readouterr()
        assert main(["sample", str(vae_run), f"--out={out}", *map(str, arguments)]) == 0
        *remarks, path = capsys.readouterr().out.splitlines()
        assert path == str(out)
        with Image.open(out) as picture:
            return np.asarray(picture), remarks

    return draw


@pytest.fixture(scope="module")
def explorer(vae_run):
    return jgr.load(vae_run).explore(quiet=True)


def cells(pixels, rows, columns):
    """The images of a grid of 8x8 pixels, enlarged eight times."""
    assert pixels.shape == (rows * 66 + 2, columns * 66 + 2)
    return np.stack(
        [
            [
                pixels[2 + 66 * row : 66 * row + 66 : 8, 2 + 66 * column : 66 * column + 66 : 8]
                for column in range(columns)
            ]
            for row in range(rows)
        ]
    )


def test_records_stand_beside_their_reconstructions(drawn, explorer):
    picture, remarks = drawn("--reconstruct", "--num=3")
    shown, found = cells(picture, 3, 2), explorer.reconstruct(3)
    np.testing.assert_array_equal(shown[:, 0], found.originals[..., 0])
    np.testing.assert_array_equal(shown[:, 1], found.images[..., 0])
    assert remarks == []


def test_traversals_say_which_latents_they_follow(drawn, explorer):
    picture, remarks = drawn("--traverse=3", "--record=4")
    shown, found = cells(picture, 2, 4), explorer.traverse(steps=3, record=4)
    np.testing.assert_array_equal(shown[:, 0], np.stack([found.start, found.start])[..., 0])
    np.testing.assert_array_equal(shown[:, 1:], found.images[..., 0])
    told = [
        re.fullmatch(r"row (\d): latent (\d), KL (\S+) nats, variance of its posterior mean (\S+) \(active\)", of)
        for of in remarks
    ]
    assert [(int(of[1]), int(of[2])) for of in told[:2]] == list(enumerate(found.latents))
    assert [float(of[3]) for of in told[:2]] == pytest.approx(found.divergences, rel=1e-2)
    assert [float(of[4]) for of in told[:2]] == pytest.approx(found.variances, rel=1e-2)
    assert remarks[2] == "columns: the reconstruction of record 4, then the latent at -3, 0, 3"
    _, remarks = drawn("--traverse=2", "--record=prior", "--num=1")
    assert remarks[1:] == ["columns: the prior's mean, then the latent at -3, 3"]


def test_the_map_lies_beside_a_plot_of_the_records(drawn, explorer):
    picture, _ = drawn("--latent_map=5", "--num=50")
    images = explorer.latent_map(5)
    plane = grid(images.reshape(25, 8, 8, 1), columns=5, min_side=24)
    np.testing.assert_array_equal(picture[:, : plane.shape[1]], plane.repeat(3, axis=2))
    plot = picture[:, plane.shape[1] + 8 :].astype(int)
    colored = np.ptp(plot, axis=2) > 100
    assert len(np.unique(plot[colored], axis=0)) >= 9  # one of the ten colours is gray


def test_masked_pixels_are_filled_in(drawn, explorer, tmp_path):
    target = Digits(split="test")[3]["image"]
    Image.fromarray(target[..., 0]).save(tmp_path / "digit.png")
    mask = np.full((8, 8), 255, np.uint8)
    mask[4:] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    search = ("--invert", tmp_path / "digit.png", f"--mask={tmp_path / 'mask.png'}", "--invert_steps=60")
    picture, [remark] = drawn(*search, "--restarts=2", "--prior_weight=2")
    [[masked, found, composed, truth]] = cells(picture, 1, 4)
    expected = explorer.invert(target[None], steps=60, restarts=2, masks=mask[None] > 0, prior_weight=2.0)
    np.testing.assert_array_equal(truth, target[..., 0])
    np.testing.assert_array_equal(masked, np.where(mask, truth, 128))
    np.testing.assert_array_equal(found, expected.images[0, ..., 0])
    np.testing.assert_array_equal(composed, np.where(mask, truth, found))
    hidden = 10 * np.log10(255**2 / np.square(found[4:].astype(float) - truth[4:]).mean())
    known = expected.psnr[0]
    assert remark == f"{tmp_path}/digit.png: PSNR {hidden:.2f} dB of the hidden pixels, {known:.2f} dB of the known"


def test_blends_and_transfers(drawn, explorer):
    picture, remarks = drawn("--blend", 3, 14, "--shares=0.25,0.75")
    images = np.stack([explorer.record(place) for place in (3, 14)])
    shown = cells(picture, 1, 3)[0]
    np.testing.assert_array_equal(shown[:2], images[..., 0])
    np.testing.assert_array_equal(shown[2], explorer.blend(images, np.array([[0.25, 0.75]]))[0, ..., 0])
    assert remarks == []
    picture, (remark,) = drawn("--transfer", 3, 8, "--num=2")
    shown, found = cells(picture, 2, 5), explorer.transfer(8, 3, num=2)
    np.testing.assert_array_equal(shown[:, 0], found.originals[..., 0])
    np.testing.assert_array_equal(shown[:, 1:], found.images[..., 0])
    assert re.fullmatch(r"8 of \d+ records against 3 of \d+; columns: record, then 0, 0.5, 1, 1.5", remark)


@pytest.fixture
def masks(tmp_path):
    """A digit, and masks that are none."""
    Image.fromarray(Digits(split="test")[3]["image"][..., 0]).save(tmp_path / "digit.png")
    Image.new("L", (9, 8), 255).save(tmp_path / "wide.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    Image.new("L", (8, 8), 0).save(tmp_path / "black.png")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mask=white.png"], "--mask=white.png goes with --invert: add that, or leave it out"),
        (["--prior_weight=0", "--traverse"], "--prior_weight=0.0 goes with --invert"),
        (["--record=3", "--reconstruct"], "--record=3 goes with --traverse"),
        (["--shares=1,0", "--reconstruct"], "--shares=1,0 goes with --blend"),
        (["--blend", "3", "4", "--shares=1,half"], "--shares=1,half must be numbers such as 0.5,0.3,0.2"),
        (["--blend", "3", "none.png"], "none.png: no such file"),
        (["--transfer", "3", "12"], "transfer: none of the first 360 records of the run's data has 12"),
        (["--record=first", "--traverse"], "--record=first must be the number of a record, or prior"),
        (["--record=360", "--traverse"], "traverse: record = 360 must be from 0 to 359, the places in digits-test"),
        (["--reconstruct", "--num=361"], "reconstruct: num = 361 must be from 1 to 360, the records of digits-test"),
        (["--reconstruct", "--classes=3"], "classes = [3] does not go with reconstruct: records have their own"),
        (["--reconstruct", "--truncation=0.7"], "truncation = 0.7 does not go with reconstruct"),
        (["--classes"], "classes = 'all': VAE of this run is unconditional; leave classes out"),
        (
            ["--mask={}/wide.png", "--invert", "{}/digit.png"],
            "the mask is 9x8 pixels, and must be 8x8, as the generator",
        ),
        (["--mask={}/white.png", "--invert", "{}/digit.png"], "white.png: the mask hides no pixel; leave it out"),
        (["--mask={}/black.png", "--invert", "{}/digit.png"], "black.png: the mask hides every pixel"),
    ],
)
def test_command_lines_that_cannot_be_done(capsys, vae_run, masks, arguments, message):
    out = masks / "x.png"
    given = [argument.format(masks) for argument in arguments]
    assert main(["sample", str(vae_run), f"--out={out}", *given]) == 1
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert message in shown
    assert not out.exists()
