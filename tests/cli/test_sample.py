"""`jgr sample` on a GAN that was trained, if only for six steps; what else pictures hold is tested in jobs/explore."""

import re

import numpy as np
import pytest
from PIL import Image

import jgr
from jgr.cli.main import main
from jgr.images import grid


@pytest.fixture
def drawn(capsys, digits_run, tmp_path):
    """What `jgr sample` draws of the run, and what it prints before the picture's path."""

    def draw(*arguments):
        out = tmp_path / "picture.png"
        capsys.readouterr()
        assert main(["sample", str(digits_run), f"--out={out}", *map(str, arguments)]) == 0
        *remarks, path = capsys.readouterr().out.splitlines()
        assert path == str(out)
        with Image.open(out) as picture:
            return np.asarray(picture), remarks

    return draw


def test_grid_is_of_the_images_of_the_run(drawn, digits_run):
    images = jgr.load(digits_run).sample(6, seed=3)
    np.testing.assert_array_equal(drawn("--num=6", "--seed=3")[0], grid(images)[..., 0])


def test_interpolation_ends_where_samples_are(drawn, digits_run):
    images = jgr.load(digits_run).sample(4)
    rows = grid(images[[0, 0, 1, 2, 2, 3]], columns=3)[..., 0]
    picture, _ = drawn("--interpolate=3", "--num=2")
    np.testing.assert_array_equal(picture[:, :66], rows[:, :66])
    np.testing.assert_array_equal(picture[:, -66:], rows[:, -66:])
    assert (picture[:, 68:132] != rows[:, 68:132]).any()


def test_neighbours_are_digits(drawn, digits_run):
    picture, remarks = drawn("--nearest=2", "--num=1")
    found = [int(index) for index in re.findall(r"(\d+) \(", remarks[0])]
    source = jgr.load(digits_run).experiment.data.source
    images = np.stack([jgr.load(digits_run).sample(1)[0], *(source[index]["image"] for index in found)])
    np.testing.assert_array_equal(picture, grid(images, columns=3)[..., 0])


def test_an_image_of_its_own_is_found_again(drawn, digits_run, tmp_path):
    image = jgr.load(digits_run).sample(1, seed=9)[0]
    Image.fromarray(image[..., 0]).save(tmp_path / "own.png")
    psnr = {}
    for steps in (1, 100):
        _, [remark] = drawn("--invert", tmp_path / "own.png", f"--invert_steps={steps}", "--restarts=2")
        psnr[steps] = float(re.fullmatch(rf"{tmp_path}/own.png: PSNR (\S+) dB", remark)[1])
    assert psnr[100] > psnr[1] + 6  # so early, all images are much alike
