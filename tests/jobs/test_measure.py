import json
import math

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from jgr.cli.main import main
from jgr.errors import ConfigError, DataError, MetricError
from jgr.jobs.measure import choose, measure, named_extractor, save_statistics, write_values
from jgr.metrics.distribution import Precision, Recall
from jgr.metrics.extractor import Pixels

RNG = np.random.default_rng(0)
TARGETS = RNG.integers(0, 256, (6, 24, 32, 3), np.uint8)
IMAGES = np.clip(TARGETS + RNG.normal(0, 12, TARGETS.shape).round(), 0, 255).astype(np.uint8)


def write_folder(path, images, names=None):
    path.mkdir()
    for number, image in enumerate(images):
        name = names[number] if names else f"{number:02}.png"
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path / name)
    return path


@pytest.fixture
def folders(tmp_path):
    return write_folder(tmp_path / "restored", IMAGES), write_folder(tmp_path / "originals", TARGETS)


def found(a, b, names, **options):
    fields = {key: options.pop(key) for key in ("color", "crop", "rounding", "extractor") if key in options}
    return {one.metric: one for one in measure(a, b, choose(names, **fields), **options)}


def test_pairs_of_files_equal_scikit_image(folders):
    values = found(*folders, ["psnr", "ssim", "psnr_pooled", "mse"])
    psnr = [peak_signal_noise_ratio(t, i) for t, i in zip(TARGETS, IMAGES, strict=True)]
    ssim = []
    for target, image in zip(TARGETS, IMAGES, strict=True):
        _, full = structural_similarity(
            target / 255.0,
            image / 255.0,
            channel_axis=2,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        ssim.append(full[5:-5, 5:-5].mean())
    assert values["psnr"].value == pytest.approx(np.mean(psnr), rel=1e-6)
    assert values["psnr"].std == pytest.approx(np.std(psnr), rel=1e-4)
    assert values["ssim"].value == pytest.approx(np.mean(ssim), abs=1e-6)
    pooled = np.mean((TARGETS / 255.0 - IMAGES / 255.0) ** 2)
    assert values["mse"].value == pytest.approx(pooled, rel=1e-5)
    assert values["psnr_pooled"].value == pytest.approx(-10 * math.log10(pooled), rel=1e-6)
    assert (values["psnr"].protocol, values["psnr"].n) == ("psnr_rgb_u8", 6)


def test_arrays_and_folders_give_the_same(folders, tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    np.savez(tmp_path / "b.npz", images=(TARGETS / 255.0).astype(np.float32))
    names = ["psnr", "ssim", "mae"]
    of_files = found(*folders, names, color="y", crop=2)
    of_arrays = found(tmp_path / "a.npy", tmp_path / "b.npz", names, color="y", crop=2, data_range=1.0)
    assert of_files["psnr"].protocol == "psnr_y_crop2_u8"
    for name in names:
        assert of_arrays[name].value == pytest.approx(of_files[name].value, rel=1e-6)


def test_sets_equal_numpy_and_kept_statistics_serve_as_well(tmp_path):
    small = [images[:, :6, :6] for images in (IMAGES, TARGETS)]
    folders = [write_folder(tmp_path / name, images) for name, images in zip("ab", small, strict=True)]
    a, b = (images.reshape(6, -1) / 255.0 for images in small)
    pixels = Pixels()
    value = found(*folders, ["fd"], extractor=pixels, batch_size=4)["fd_pixels"]
    centred = [(x - x.mean(0)) / np.sqrt(5) for x in (a, b)]
    cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + sum((c**2).sum() for c in centred) - 2 * cross
    assert value.value == pytest.approx(expected, rel=1e-5)
    save_statistics(tmp_path / "kept.npz", folders[1], pixels)
    with np.load(tmp_path / "kept.npz") as kept:
        np.testing.assert_allclose(kept["sigma"], np.cov(b.T), atol=1e-7)
    again = found(folders[0], tmp_path / "kept.npz", ["fd"], extractor=pixels)["fd_pixels"]
    assert again.value == pytest.approx(expected, rel=1e-4)
    with pytest.raises(DataError, match=r"holds statistics of pixels, not of cnn-mnist@\w+: make them again"):
        measure(folders[0], tmp_path / "kept.npz", choose(["fd"], extractor=named_extractor("cnn-mnist")))
    with pytest.raises(DataError, match="holds statistics only, which precision_pixels cannot be computed from"):
        measure(folders[0], tmp_path / "kept.npz", choose(["precision"], extractor=pixels))


def test_values_of_every_pair(folders, tmp_path):
    Image.fromarray(TARGETS[2]).save(folders[0] / "02.png")
    measured = measure(*folders, ["psnr", "mae", "psnr_pooled"])
    assert measured[0].value == math.inf
    assert json.loads(json.dumps(measured[0].record()))["status"] == "inf"
    write_values(tmp_path / "values.csv", measured)
    lines = (tmp_path / "values.csv").read_text().splitlines()
    assert lines[0] == "image,psnr_rgb_u8,mae_rgb_u8"
    assert lines[3] == "02,inf,0.0"
    assert len(lines) == 7


def test_what_cannot_be_measured_is_named(folders, tmp_path):
    a, b = folders
    metrics = choose(["psnr"])
    extra = write_folder(tmp_path / "extra", [*IMAGES, IMAGES[0]])
    with pytest.raises(DataError, match=r"has 7 images and .* has 6: .*extra/06.png has no partner"):
        measure(extra, b, metrics)
    renamed = write_folder(tmp_path / "renamed", IMAGES, [f"{n:02}.png" for n in (0, 1, 2, 3, 4)] + ["x5.png"])
    with pytest.raises(DataError, match=r"x5.png and .*05.png should be a pair"):
        measure(renamed, b, metrics)
    smaller = write_folder(tmp_path / "smaller", [*IMAGES[:5], IMAGES[5][:20]])
    with pytest.raises(DataError, match=r"smaller/05.png is 32x20 RGB and .*05.png is 32x24 RGB"):
        measure(smaller, b, metrics)
    gray = write_folder(tmp_path / "gray", IMAGES[..., :1])
    with pytest.raises(DataError, match=r"gray/00.png is 32x24 gray and .*00.png is 32x24 RGB"):
        measure(gray, b, metrics)
    with pytest.raises(ConfigError, match=r"gray, 00: psnr with color = 'rgb' needs .* set color='gray'"):
        measure(gray, gray, metrics)
    with pytest.raises(ConfigError, match=r"metric ssim: .*11x11"):
        measure(*(write_folder(tmp_path / f"tiny{i}", IMAGES[:, :8]) for i in (0, 1)), choose(["ssim"]))
    with pytest.raises(
        DataError, match=r"nowhere: must be a folder of images, or a \.npy or \.npz file; it does not exist"
    ):
        measure(tmp_path / "nowhere", b, metrics)
    with pytest.raises(MetricError, match=r"kd_pixels of .*: .*6"):
        measure(a, b, choose(["kd"], extractor=Pixels()))
    with pytest.raises(ConfigError, match="metric 'pnsr' is unknown; there are psnr"):
        choose(["pnsr"])
    with pytest.raises(ConfigError, match="extractor 'vgg' is unknown; there are inception"):
        named_extractor("vgg")


@pytest.mark.parametrize(
    ("array", "data_range", "message"),
    [
        (np.full((2, 16, 16, 3), np.nan, np.float32), 1.0, r"a.npy\[0\]: has values that are not finite"),
        (np.full((2, 16, 16, 3), 1.5, np.float32), 1.0, r"values from 1.5 to 1.5, beyond \[0, 1\]"),
        (np.full((2, 16, 16, 3), 300.0, np.float32), 255.0, r"values from 300 to 300, beyond \[0, 255\]"),
        (np.zeros((2, 16, 16, 3), np.float32), None, "say the range of its values with --data_range"),
        (np.full((2, 16, 16, 3), 0.5, np.float32), 255.0, "its largest value is 0.5, so --data_range=255 would make"),
        (np.zeros((16, 16, 3), np.uint8), None, r"give one RGB image as \[1, height, width, 3\]"),
        (np.zeros((2, 16, 16, 3), np.int32), 1.0, "holds int32; images are uint8"),
        (np.zeros((2, 3, 16, 16), np.uint8), None, r"it must be \[n, height, width\]"),
        (np.array([{}], dtype=object), None, "not a readable NumPy file of numbers"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, data_range, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.save(tmp_path / "b.npy", np.zeros((2, 16, 16, 3), np.uint8))
    with pytest.raises(DataError, match=message):
        measure(tmp_path / "a.npy", tmp_path / "b.npy", choose(["psnr"]), data_range=data_range)


def test_one_failing_metric_does_not_lose_the_others(folders):
    failures = []
    measured = measure(*folders, choose(["psnr", "fid", "lpips", "mae"]), failures=failures)
    assert [one.metric for one in measured] == ["psnr", "mae"]
    assert "jgr weights inception" in "".join(failures)
    assert "jgr weights lpips_alex" in "".join(failures)


def test_a_value_does_not_depend_on_what_else_is_asked_for(tmp_path):
    rng = np.random.default_rng(1)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", rng.integers(0, 256, (60, 4, 4, 1), np.uint8))
    paths = tmp_path / "a.npy", tmp_path / "b.npy"
    few, many = Precision(max_images=20), Recall(max_images=60)
    alone = [measure(*paths, [metric])[0] for metric in (few, many)]
    assert measure(*paths, [few, many]) == alone
    assert [one.protocol for one in alone] == [
        "precision_pixels_u8_k3_n20_ref20_b.npy",
        "recall_pixels_u8_k3_n60_b.npy",
    ]


def test_statistics_that_do_not_say_of_what_are_marked(tmp_path):
    images = RNG.integers(0, 256, (40, 3, 3, 1), np.uint8)
    np.save(tmp_path / "a.npy", images)
    rows = images.reshape(40, -1) / 255.0
    np.savez(tmp_path / "theirs.npz", mu=rows.mean(0), sigma=np.cov(rows.T))
    (found,) = measure(tmp_path / "a.npy", tmp_path / "theirs.npz", choose(["fd"], extractor=Pixels()))
    assert found.protocol == "fd_pixels_u8_n40_theirs-unverified"
    assert found.value == pytest.approx(0.0, abs=1e-6)


def test_mistakes_end_in_one_line(folders, tmp_path, capsys):
    pixels = "--extractor=pixels"
    mixed = write_folder(tmp_path / "mixed", [TARGETS[0], TARGETS[1][:20]])
    one = write_folder(tmp_path / "one", TARGETS[:1])
    for arguments, message in (
        ((*folders, "--metrics=classifier_score", pixels), "no classifier"),
        ((mixed, mixed, "--metrics=fd", pixels), "needs images of one size"),
        ((one, pixels, f"--save_statistics={tmp_path / 's.npz'}"), "at least 2 images"),
        ((*folders, "--metrics=fd", pixels, f"--per_image={tmp_path / 'x.csv'}"), "no metric of pairs is asked for"),
        ((folders[0], "--metrics=psnr"), "psnr: name a second set"),
        ((*folders, "--metrics="), "--metrics is empty"),
    ):
        assert main(["metrics", *map(str, arguments), "--quiet"]) == 1
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_the_command(folders, run_jgr, tmp_path):
    done = run_jgr("metrics", *folders, "--metrics=psnr,mae", "--format=json", "--per_image", tmp_path / "each.csv")
    records = json.loads(done.stdout)
    assert [record["protocol"] for record in records] == ["psnr_rgb_u8", "mae_rgb_u8"]
    assert len((tmp_path / "each.csv").read_text().splitlines()) == 7
    done = run_jgr("metrics", *folders, "--metrics=psnr,fid", status=1)
    assert done.stdout.startswith("psnr_rgb_u8  ")
    assert "jgr weights inception" in done.stderr
    assert done.stderr.count("\n") == 1
