import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jgr.degradations.masks import Boxes, Mask, MaskFile, MaskGenerator, RandomPixels, Strokes, Window
from jgr.degradations.parameters import Uniform
from jgr.errors import ConfigError

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 40)
SHARES = Uniform(low=0.1, high=0.3)
MANY = Uniform(low=1.0, high=3.0)
STROKES = Strokes(count=MANY, segments=MANY, length=SHARES, width=0.1, turn=SHARES)
IMAGE = jnp.asarray(np.random.default_rng(0).random((12, 10, 3)).astype(np.float32))


def masks(generator, height=40, width=30):
    return np.asarray(jax.jit(jax.vmap(lambda key: generator(key, height, width)))(KEYS))


@pytest.mark.parametrize("generator", [RandomPixels(keep=0.3), Boxes(count=2, size=SHARES), STROKES])
def test_masks_are_binary_and_differ(generator):
    drawn = masks(generator)
    assert drawn.shape == (40, 40, 30, 1)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert (drawn[0] != drawn[1]).any()
    np.testing.assert_array_equal(jax.jit(generator, static_argnums=(1, 2))(KEYS[3], 40, 30), drawn[3])


def test_random_pixels_keep_their_share():
    drawn = masks(RandomPixels(keep=0.3))
    assert abs(drawn.mean() - 0.3) <= 4 * np.sqrt(0.21 / drawn.size)
    rows = drawn[:, 1:] * drawn[:, :-1]
    assert abs(rows.mean() - 0.09) <= 4 * np.sqrt(0.09 / rows.size)  # neighbours are independent


def test_one_box_is_a_rectangle_of_its_size_anywhere():
    drawn = masks(Boxes(count=1, size=0.5))[..., 0]
    holes = [np.argwhere(mask == 0) for mask in drawn]
    for hole in holes:
        assert len(hole) == 20 * 15
        np.testing.assert_array_equal(np.ptp(hole, axis=0), [19, 14])
    tops = {hole[0][0] for hole in holes}
    assert len(tops) > 10
    assert tops <= set(range(21))


def test_a_window_is_what_one_box_would_hide():
    np.testing.assert_array_equal(masks(Window(size=SHARES)).sum(axis=(1, 2, 3)) > 0, np.ones(40, bool))
    drawn = masks(Window(size=0.5))[..., 0]
    for known in map(np.argwhere, drawn):
        assert len(known) == 20 * 15
        np.testing.assert_array_equal(np.ptp(known, axis=0), [19, 14])
    assert len({tuple(np.argwhere(known)[0]) for known in drawn}) > 20
    assert Mask(generator=Window(size=0.5)).name == "mask-window-s0.5"
    with pytest.raises(ConfigError, match="size = 0"):
        Window(size=0.0)


def test_boxes_are_as_many_as_drawn():
    drawn = masks(Boxes(count=Uniform(low=1.0, high=2.0), size=0.5))
    shares = 1 - drawn.mean(axis=(1, 2, 3))
    assert (np.isclose(shares, 0.25).sum() > 5) & (shares.max() > 0.3)
    assert shares.max() <= 0.5


def test_a_stroke_has_the_area_of_its_brush():
    # One straight segment of 20 pixels and a round brush of 8: a capsule, where it lies inside.
    drawn = masks(Strokes(count=1, segments=1, length=0.2, width=0.08, turn=0.0), 100, 100)[..., 0]
    areas = (drawn == 0).sum(axis=(1, 2))
    assert areas.max() == pytest.approx(20 * 8 + np.pi * 16, rel=0.06)
    inside = [mask for mask in drawn if mask[0].all() and mask[-1].all() and mask[:, 0].all() and mask[:, -1].all()]
    assert len(inside) > 10
    for mask in inside:
        hole = np.argwhere(mask == 0).astype(float)
        spread = np.linalg.eigvalsh(np.cov(hole.T, bias=True)) ** 0.5
        assert spread[0] == pytest.approx(2.2, abs=0.3)  # of a width of 8: between 8 / sqrt(12) and a disk's 2
        assert spread[1] == pytest.approx(28 / 12**0.5, abs=0.9)


def test_strokes_zigzag():
    # Turned by 90° to either side in turns, all segments lie on one line: to and fro.
    flat = masks(Strokes(count=1, segments=6, length=0.2, width=0.04, turn=90.0), 100, 100)[..., 0]
    for mask in flat[:10]:
        assert (mask == 0).sum() <= 20 * 5 + 3 * 16
    # By 45°, they go on along the main direction.
    steps = masks(Strokes(count=1, segments=4, length=0.1, width=0.04, turn=45.0), 200, 200)[..., 0]
    longest = max(np.ptp(np.argwhere(mask == 0) @ [[1, 1, 1, 0], [1, -1, 0, 1]], axis=0).max() for mask in steps)
    assert longest > 4 * 20 * 0.7


def test_mask_hides_and_tells():
    keys = jax.random.split(KEY, 3)
    degradation = Mask(generator=RandomPixels(keep=0.5), fill=0.25)
    out = jax.jit(degradation)({"image": jnp.stack([IMAGE] * 3)}, keys)
    mask = np.asarray(out["mask"])
    np.testing.assert_array_equal(out["image"], np.where(mask == 1, out["target"], np.float32(0.25)))
    gradient = jax.grad(lambda image: degradation.apply({"image": image}, keys[1])["image"].sum())(IMAGE)
    np.testing.assert_array_equal(gradient, np.broadcast_to(mask[1], IMAGE.shape))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nothing(MaskGenerator):
    name = "nothing"

    def __call__(self, key, height, width):
        return jnp.zeros((height, width, 1))


def test_a_drawn_mask_never_hides_everything():
    out = jax.jit(Mask(generator=Nothing()))({"image": jnp.stack([IMAGE] * 40)}, KEYS)
    np.testing.assert_array_equal(out["mask"].sum(axis=(1, 2, 3)), 1)
    assert len({int(place) for place in out["mask"].reshape(40, -1).argmax(1)}) > 20


def test_masks_multiply():
    first = Mask(generator=RandomPixels(keep=0.7)).apply({"image": IMAGE}, KEYS[0])
    second = Mask(generator=RandomPixels(keep=0.7)).apply(first, KEYS[1])
    alone = Mask(generator=RandomPixels(keep=0.7)).apply({"image": IMAGE}, KEYS[1])
    np.testing.assert_array_equal(second["mask"], first["mask"] * alone["mask"])
    hidden = Mask(generator=RandomPixels(keep=0.7)).apply({"image": IMAGE, "mask": 1 - alone["mask"]}, KEYS[1])
    np.testing.assert_array_equal(hidden["mask"], 1 - alone["mask"])  # else nothing would be known
    np.testing.assert_array_equal(hidden["image"], IMAGE)


def save(path, pixels):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return str(path)


def test_mask_files(tmp_path, monkeypatch):
    known = np.random.default_rng(0).random((12, 10)) < 0.5
    generator = MaskFile(path=save(tmp_path / "scratch.png", known * 255))
    np.testing.assert_array_equal(generator(KEY, 12, 10)[..., 0], known)
    np.save(tmp_path / "scratch.npy", known)
    monkeypatch.setenv("MASKS", str(tmp_path))
    same = MaskFile(path="$MASKS/scratch.npy")
    np.testing.assert_array_equal(same(KEY, 12, 10)[..., 0], known)
    assert generator.name == same.name
    assert generator.name.startswith("scratch@")
    with pytest.raises(ConfigError, match=r"path = .*scratch.png: the mask is 12x10, the image 8x8"):
        generator(KEY, 8, 8)


def test_bad_mask_files(tmp_path):
    with pytest.raises(ConfigError, match=r"path = .*black.png: the mask hides every pixel; 1 or white means known"):
        MaskFile(path=save(tmp_path / "black.png", np.zeros((4, 4))))
    with pytest.raises(ConfigError, match=r"soft.png: 16 of 16 pixels .* soft mask pixels create visible borders"):
        MaskFile(path=save(tmp_path / "soft.png", np.full((4, 4), 128)))
    with pytest.raises(ConfigError, match=r"none.png: there is no such file"):
        MaskFile(path=str(tmp_path / "none.png"))
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(ConfigError, match=r"bad.png: not a readable mask"):
        MaskFile(path=str(tmp_path / "bad.png"))
    np.save(tmp_path / "colour.npy", np.ones((4, 4, 3)))
    with pytest.raises(ConfigError, match=r"colour.npy: the mask's shape \(4, 4, 3\) must be height, width"):
        MaskFile(path=str(tmp_path / "colour.npy"))


def test_names_and_impossible_values():
    assert Mask(generator=RandomPixels(keep=0.5)).name == "mask-pixels-k0.5"
    assert Mask(generator=Boxes(count=2, size=SHARES), fill=0.5).name == "mask-boxes-n2-s0.1..0.3-fill0.5"
    assert STROKES.name == "strokes-n1..3-v1..3-l0.1..0.3-w0.1-a0.1..0.3"
    with pytest.raises(ConfigError, match=r"keep = 0 must be above 0 and at most 1; 0 hides every pixel"):
        RandomPixels(keep=0.0)
    with pytest.raises(ConfigError, match=r"size = 1 must be smaller: .* hides every pixel"):
        Boxes(count=1, size=1.0)
    with pytest.raises(ConfigError, match=r"size = 64 must .* share of the image's side"):
        Boxes(count=1, size=64.0)
    with pytest.raises(ConfigError, match=r"count = 0 must be at least 1"):
        Boxes(count=0, size=0.5)
    with pytest.raises(ConfigError, match=r"width = 12 must .* share of the image's shorter side"):
        dataclasses.replace(STROKES, width=12.0)
    with pytest.raises(ConfigError, match=r"length = 0 must be above 0"):
        dataclasses.replace(STROKES, length=0.0)
    with pytest.raises(ConfigError, match=r"fill = 128 must be"):
        Mask(generator=STROKES, fill=128.0)
