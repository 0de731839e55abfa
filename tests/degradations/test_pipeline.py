import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.config import Context, build, resolve
from jgr.degradations import real_esrgan
from jgr.degradations.blur import Blur
from jgr.degradations.choices import Named, OneOf, Shuffled, Sometimes
from jgr.degradations.degradation import Degradation, Pipeline
from jgr.degradations.kernels import DefocusKernel, GaussianKernel
from jgr.degradations.light import ContrastLoss, LowLight
from jgr.degradations.masks import Mask, RandomPixels
from jgr.degradations.noise import GaussianNoise
from jgr.degradations.parameters import Uniform
from jgr.degradations.rescale import AtScale
from jgr.degradations.resize import imresize
from jgr.errors import ConfigError

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 400)
FLAT = {"image": jnp.full((400, 2, 2, 1), 0.5)}
IMAGE = jnp.asarray(np.random.default_rng(0).random((24, 20, 3)).astype(np.float32))
NOISE = GaussianNoise(sigma=0.1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Add(Degradation):
    amount: float = 0.0
    name = "add"

    def apply(self, record, key):
        return {**record, "image": record["image"] + self.amount}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Half(Degradation):
    name = "half"

    def apply(self, record, key):
        return {**record, "image": record["image"][::2, ::2]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noted(Degradation):
    name = "noted"

    def apply(self, record, key):
        return {**record, "depth": jnp.float32(1)}


def test_steps_follow_one_another_with_keys_of_their_own():
    pipeline = Pipeline(steps=(LowLight(exposure=0.5), NOISE, NOISE))
    out = pipeline.apply({"image": IMAGE}, KEY)
    assert pipeline.name == "lowlight-e0.5-g1+awgn-s25.5+awgn-s25.5"
    assert float(out["sigma"]) == pytest.approx(0.1 * 2**0.5)
    noise = np.asarray(out["image"] - 0.5 * IMAGE)
    assert noise.std() == pytest.approx(0.1 * 2**0.5, rel=4 / (2 * noise.size) ** 0.5)


def test_sometimes_happens_as_often_as_asked():
    out = jax.jit(Sometimes(degradation=LowLight(exposure=0.2), probability=0.3))(FLAT, KEYS)["image"][:, 0, 0, 0]
    np.testing.assert_allclose(np.unique(out), [0.1, 0.5], rtol=1e-6)
    assert abs((out < 0.2).mean() - 0.3) <= 4 * math.sqrt(0.21 / 400)


def test_what_did_not_happen_is_told_as_nothing():
    steps = (NOISE, Blur(kernel=DefocusKernel(size=5, radius=2.0)), Mask(generator=RandomPixels(keep=0.5)))
    out = jax.jit(Sometimes(degradation=Pipeline(steps=steps), probability=0.5))(FLAT, KEYS)
    clean = np.asarray(out["sigma"]) == 0
    assert 100 < clean.sum() < 300
    np.testing.assert_array_equal(out["image"][clean], 0.5)
    np.testing.assert_array_equal(out["mask"][clean], 1)
    point = np.zeros((5, 5))
    point[2, 2] = 1
    np.testing.assert_array_equal(out["kernel"][clean], np.broadcast_to(point, (clean.sum(), 5, 5)))
    np.testing.assert_allclose(np.asarray(out["sigma"])[~clean], 0.1, rtol=1e-6)


def test_one_of_draws_by_weight():
    choice = OneOf(degradations=(Add(), LowLight(exposure=0.5), LowLight(exposure=0.1)), weights=(1.0, 1.0, 2.0))
    out = np.asarray(jax.jit(choice)(FLAT, KEYS)["image"])[:, 0, 0, 0]
    for value, share in ((0.5, 0.25), (0.25, 0.25), (0.05, 0.5)):
        assert abs(np.isclose(out, value).mean() - share) <= 4 * math.sqrt(share * (1 - share) / 400)


def test_alternatives_pad_their_kernels():
    blurs = Blur(kernel=DefocusKernel(size=3, radius=1.0)), Blur(kernel=GaussianKernel(size=7, sigma=2.0))
    out = jax.jit(OneOf(degradations=blurs))({"image": jnp.stack([IMAGE] * 8)}, KEYS[:8])
    assert out["kernel"].shape == (8, 7, 7)
    np.testing.assert_allclose(out["kernel"].sum(axis=(1, 2)), 1, rtol=1e-5)


def test_alternatives_of_another_size_are_refused():
    with pytest.raises(ConfigError, match=r"must give images of one size, but they give half 12x10, awgn-s25.5 24x20"):
        OneOf(degradations=(Half(), NOISE)).apply({"image": IMAGE}, KEY)
    with pytest.raises(ConfigError, match=r"an alternative sets 'depth' and another does not"):
        Sometimes(degradation=Noted(), probability=0.5).apply({"image": IMAGE}, KEY)


def test_shuffled_takes_each_step_once_in_any_order():
    double, add = LowLight(exposure=0.5), Add(amount=0.2)
    out = np.asarray(jax.jit(Shuffled(steps=(double, add)))(FLAT, KEYS)["image"])[:, 0, 0, 0]
    np.testing.assert_allclose(np.unique(np.round(out, 4)), [0.35, 0.45])  # (0.5 + 0.2) / 2, and 0.5 / 2 + 0.2
    assert abs((out > 0.4).mean() - 0.5) <= 4 * 0.5 / math.sqrt(400)


def test_records_do_not_depend_on_the_batch():
    pipeline = OneOf(degradations=(Sometimes(degradation=NOISE, probability=0.5), ContrastLoss(factor=0.5)))
    images = jnp.stack([IMAGE] * 4)
    whole = jax.jit(pipeline)({"image": images}, KEYS[:4])
    for i in range(4):
        np.testing.assert_allclose(pipeline.apply({"image": IMAGE}, KEYS[i])["image"], whole["image"][i], atol=1e-6)


def test_at_scale_without_a_change_is_the_identity():
    out = AtScale(scale=1.0, degradation=Add(amount=0.25)).apply({"image": IMAGE, "sigma": jnp.float32(0.1)}, KEY)
    np.testing.assert_allclose(out["image"], IMAGE + 0.25, atol=1e-5)
    assert set(out) == {"image"}


@pytest.mark.parametrize(("scale", "output"), [(0.5, 1.0), (1.5, 0.5), (0.3, 0.25)])
def test_at_scale_resizes_there_and_back(scale, output):
    """Against `imresize`, which reflects at the border where this cuts off: compared inside."""
    y, x = np.mgrid[:40, :40] / 40
    smooth = jnp.asarray((0.5 + 0.3 * np.sin(5 * x + 3 * y))[..., None].astype(np.float32))
    inner, outer = round(40 * scale), round(40 * output)
    candidates = [
        imresize(imresize(smooth, inner, inner, method=there), outer, outer, method=back)
        for there in ("box", "linear", "cubic")
        for back in ("box", "linear", "cubic")
    ]
    at_scale = AtScale(scale=Uniform(low=scale, high=scale), degradation=Add(), output=output)
    out = jax.jit(at_scale)({"image": jnp.stack([smooth] * 40)}, KEYS[:40])["image"]
    assert out.shape == (40, outer, outer, 1)
    edge = max(3, outer // 5)
    errors = np.array([[np.abs(o - c)[edge:-edge, edge:-edge].max() for c in candidates] for o in np.asarray(out)])
    # "box" is the exact area here and covered pixels there: they differ where the factor is not whole.
    exact = errors[:, [4, 5, 7, 8]].min(axis=1) < 1e-4
    assert exact.sum() >= 5
    assert errors.min(axis=1).max() < 0.03


def test_at_scale_keeps_constants_at_any_scale():
    at_scale = AtScale(scale=Uniform(low=0.1, high=1.5), degradation=Add(), output=0.5)
    out = jax.jit(at_scale)({"image": jnp.full((50, 12, 8, 1), 0.7)}, KEYS[:50])["image"]
    assert out.shape == (50, 6, 4, 1)
    np.testing.assert_allclose(out, 0.7, rtol=1e-5)


def test_impossible_values():
    with pytest.raises(ConfigError, match=r"probability = 2 must be"):
        Sometimes(degradation=NOISE, probability=2.0)
    with pytest.raises(ConfigError, match=r"degradations is empty"):
        OneOf(degradations=())
    with pytest.raises(ConfigError, match=r"steps is empty"):
        Shuffled(steps=())
    with pytest.raises(ConfigError, match=r"scale = 0 must be above 0"):
        AtScale(scale=0.0, degradation=NOISE)
    with pytest.raises(ConfigError, match=r"output = 0 must be above 0"):
        AtScale(scale=1.0, degradation=NOISE, output=0.0)
    with pytest.raises(ConfigError, match=r"output = 0.3 of an image of 24x20 is no whole number .* multiple"):
        AtScale(scale=1.0, degradation=NOISE, output=0.3).apply({"image": IMAGE}, KEY)
    with pytest.raises(ConfigError, match=r"degradation = half must keep the image's size"):
        AtScale(scale=1.0, degradation=Half()).apply({"image": IMAGE}, KEY)


def test_names():
    blur = Blur(kernel=GaussianKernel(size=5, sigma=1.0))
    assert Sometimes(degradation=NOISE, probability=0.8).name == "(0.8:awgn-s25.5|0.2:clean)"
    assert OneOf(degradations=(NOISE, blur)).name == "(awgn-s25.5|blur-gaussian5-s1-reflect)"
    assert Shuffled(steps=(NOISE, blur)).name == "shuffled(awgn-s25.5+blur-gaussian5-s1-reflect)"
    assert AtScale(scale=Uniform(low=0.5, high=1.0), degradation=NOISE, output=0.25).name == "x0.5..1(awgn-s25.5)x0.25"
    named = Named(label="mine", degradation=NOISE)
    assert named.name.startswith("mine@")
    assert named.name != Named(label="mine", degradation=GaussianNoise(sigma=0.2)).name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Root:
    degradation: Degradation


def resolved(config, *overrides):
    return resolve({"degradation": config}, Root, overrides)


def test_a_config_is_built_and_resolves_to_itself():
    config = {
        "cls": "jgr.degradations.degradation.Pipeline",
        "steps": (
            {
                "cls": "jgr.degradations.blur.Blur",
                "kernel": {"cls": "jgr.degradations.kernels.GaussianKernel", "size": 5, "sigma": 1.5},
            },
            {
                "cls": "jgr.degradations.noise.GaussianNoise",
                "sigma": {"cls": "jgr.degradations.parameters.Uniform", "low": 0, "high": 55 / 255},
            },
        ),
    }
    complete = resolved(config)
    assert resolved(complete.degradation.to_dict()) == complete
    built = build(complete.degradation, Degradation, "config.degradation", Context())
    assert built.name == "blur-gaussian5-s1.5-reflect+awgn-s0..55"
    noise = {"cls": "jgr.degradations.noise.GaussianNoise", "sigma": 25}
    with pytest.raises(ConfigError, match=r"config.degradation.sigma = 25 must .* write 25/255"):
        build(resolved(noise).degradation, Degradation, "config.degradation", Context())


@pytest.mark.parametrize("scale", [2, 4])
def test_real_esrgan_builds(scale):
    complete = resolved(real_esrgan.config(scale))
    assert resolved(complete.degradation.to_dict()) == complete
    built = build(complete.degradation, Degradation, "config.degradation", Context())
    assert built.name.startswith(f"realesrgan-x{scale}@")
    shapes = jax.eval_shape(built, {"image": jnp.zeros((2, 64, 64, 3))}, KEYS[:2])
    assert shapes["image"].shape == (2, 64 // scale, 64 // scale, 3)
    assert set(shapes) == {"image", "target", "kernel", "quality"}


@pytest.mark.slow  # a minute of compilation
def test_real_esrgan_runs():
    built = build(real_esrgan.config(4), Degradation, "config.degradation", Context())
    y, x = np.mgrid[:64, :64] / 64
    images = jnp.asarray(np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x)], axis=-1).astype(np.float32))
    out = jax.jit(built)({"image": jnp.stack([images, images])}, KEYS[:2])
    small = np.asarray(out["image"])
    assert small.shape == (2, 16, 16, 3)
    np.testing.assert_allclose(small * 255, np.round(small * 255), atol=1e-3)
    assert small.min() >= 0
    assert small.max() <= 1
    assert (small[0] != small[1]).any()
    clean = np.asarray(imresize(images, 16, 16))
    for one in small:  # degraded, yet the same picture
        assert np.corrcoef(one.ravel(), clean.ravel())[0, 1] > 0.8
    quality = np.asarray(out["quality"])
    assert ((quality >= 0.3) & (quality <= 0.95)).all()
