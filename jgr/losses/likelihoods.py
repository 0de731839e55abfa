"""Likelihoods of images given a decoder's outputs, in nats: sums over pixels and channels.

Name one in a config: `config.task.likelihood = dict(cls="jgr.losses.likelihoods.Bernoulli")`. One of your own is a
subclass of `Likelihood`.
"""

import abc
import dataclasses
import math
import zlib
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Bool, Float, Int, Key, UInt16

from jgr.errors import ConfigError, DataError
from jgr.images import to_signed
from jgr.rng import folded

Images = Float[Array, "batch height width channels"]
Outputs = Float[Array, "*samples batch height width outputs"]
Params = dict[str, Array]

_LEVELS = 255
_SMALLEST = -7.0  # of log-scales: Salimans et al. 2017, PixelCNN++, released code
_FIXED = zlib.crc32(b"fixed binarisation")
_PREPARED = zlib.crc32(b"prepared images")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Likelihood(abc.ABC):
    """p(x | z), the decoder's outputs being its parameters."""

    @abc.abstractmethod
    def num_outputs(self, channels: int) -> int:
        """Channels that a decoder's outputs need for images of so many.

        Raises:
            ConfigError: If it is not defined for them.
        """

    def init(self) -> Params:
        """Its own parameters before the first step; none by default."""
        return {}

    def prepared(self, images: Images, index: Int[Array, "batch"], keys: Key[Array, "batch"]) -> Images:
        """Images as it sees them, binarised or with noise; as they are by default.

        Args:
            images: In [0, 1].
            index: Each record's place in the data set.
            keys: One a record.
        """
        return images

    @abc.abstractmethod
    def supports(self, images: Float[Array, "..."]) -> Bool[Array, "..."]:
        """Which prepared values it gives a probability or density."""

    def check(self, images: np.ndarray) -> None:
        """Raises DataError, which names the range, where images as they come with a record lie outside the support."""
        prepared = self.prepared(
            jnp.asarray(images), jnp.zeros(len(images), jnp.int32), jax.random.split(jax.random.key(0), len(images))
        )
        inside = np.asarray(self.supports(prepared))
        if not inside.all():
            value = np.asarray(prepared)[~inside][0]
            raise DataError(
                f"images have the value {value:.6g} ({np.mean(~inside):.1%} of their values are such): "
                f"{type(self).__name__} gives probabilities to {self.range} only"
            )

    @property
    @abc.abstractmethod
    def range(self) -> str:
        """The support in words, and what to do about values outside."""

    @abc.abstractmethod
    def log_prob(self, params: Params, outputs: Outputs, images: Images) -> Float[Array, "*samples batch"]:
        """Log p(x | z) of each image; NaN where it lies outside the support.

        Args:
            params: As `init` gave them, or trained.
            outputs: Of the decoder, perhaps for several samples of each latent.
            images: Prepared.
        """

    def of_pixels(
        self, params: Params, outputs: Float[Array, "batch height width outputs"], images: Images
    ) -> Float[Array, "batch height width"]:
        """Log p(x | z) of each pixel in expectation over the noise of `prepared`, up to a constant.

        For pixels that are independent of each other given the outputs; here each counts as an image of its own.

        Args:
            params: As for `log_prob`.
            outputs: Of the decoder.
            images: As they come, in [0, 1].
        """
        single = (array.reshape(-1, 1, 1, array.shape[-1]) for array in (outputs, images))
        return self.log_prob(params, *single).reshape(images.shape[:-1])

    @abc.abstractmethod
    def mean(self, params: Params, outputs: Outputs) -> Float[Array, "*samples batch height width channels"]:
        """The expected image, in [0, 1]: what pictures show."""

    @abc.abstractmethod
    def sample(
        self, params: Params, outputs: Float[Array, "batch height width outputs"], keys: Key[Array, "batch"]
    ) -> Images:
        """Images drawn from it, not clipped."""

    def _only_inside(
        self, pixels: Float[Array, "*ones batch values"], log_probs: Float[Array, "*samples batch"]
    ) -> Float[Array, "*samples batch"]:
        return jnp.where(self.supports(pixels).all(axis=-1), log_probs, jnp.nan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bernoulli(Likelihood):
    """Black and white pixels, the outputs being logits.

    Numbers of different binarisations do not compare: that of MNIST's images once and for all (Larochelle & Murray
    2011) is about 2 nats worse than the dynamic one, says the README of yburda/iwae.

    Args:
        binarisation: "dynamic": a pixel is white with its brightness as probability, drawn anew whenever a record is
            seen (Burda et al. 2016, section 5). "fixed": the same, drawn once for each record. "threshold": white from
            1/2 on. "none": the data is 0 and 1 already.
    """

    binarisation: Literal["dynamic", "fixed", "threshold", "none"] = "dynamic"

    @property
    def range(self) -> str:
        """See `Likelihood.range`."""
        return "0 and 1; set likelihood.binarisation to 'dynamic', 'fixed' or 'threshold', or take another likelihood"

    def num_outputs(self, channels: int) -> int:
        """A logit a channel."""
        return channels

    def prepared(self, images: Images, index: Int[Array, "batch"], keys: Key[Array, "batch"]) -> Images:
        """Binarised images; see `Likelihood.prepared`."""
        if self.binarisation == "none":
            return images
        if self.binarisation == "threshold":
            return (images >= 0.5).astype(images.dtype)
        if self.binarisation == "fixed":
            keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(_FIXED), i))(index)
        shape = images.shape[1:]
        noise = jax.vmap(lambda key: _half_words(key, math.prod(shape)).reshape(shape))(folded(keys, _PREPARED))
        # A value outside [0, 1] is no probability: it stays, to be told.
        within = (images >= 0) & (images <= 1)
        return jnp.where(within, (noise.astype(images.dtype) < images * 2**16).astype(images.dtype), images)

    def supports(self, images: Float[Array, "..."]) -> Bool[Array, "..."]:
        """0 and 1."""
        return (images == 0) | (images == 1)

    def log_prob(self, params: Params, outputs: Outputs, images: Images) -> Float[Array, "*samples batch"]:
        """X l - log(1 + e^l), summed; see `Likelihood.log_prob`."""
        pixels, logits = _flat(_aligned(images, outputs)), _flat(outputs)
        return self._only_inside(pixels, (pixels * logits - jax.nn.softplus(logits)).sum(axis=-1))

    def of_pixels(
        self, params: Params, outputs: Float[Array, "batch height width outputs"], images: Images
    ) -> Float[Array, "batch height width"]:
        """See `Likelihood.of_pixels`; a value between 0 and 1 is the probability of white, whatever the binarisation.

        Except for "threshold", which knows no such values.
        """
        if self.binarisation == "threshold":
            images = (images >= 0.5).astype(images.dtype)
        return (images * outputs - jax.nn.softplus(outputs)).sum(axis=-1)

    def mean(self, params: Params, outputs: Outputs) -> Float[Array, "*samples batch height width channels"]:
        """Probabilities of white."""
        return jax.nn.sigmoid(outputs)

    def sample(
        self, params: Params, outputs: Float[Array, "batch height width outputs"], keys: Key[Array, "batch"]
    ) -> Images:
        """Black and white images."""
        return (_uniform(keys, outputs) < jax.nn.sigmoid(outputs)).astype(outputs.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gaussian(Likelihood):
    """Values in [0, 1] with normal noise of one scale: a density, of the means that the outputs are.

    Args:
        scale: The noise's standard deviation; where it is learned, the first.
        learned: Whether one scale for all pixels is learned (Dai & Wipf 2019, section 2; Rybkin et al. 2021).
        squashed: Whether means are the sigmoid of the outputs, instead of the outputs themselves.
        dequantised: Whether levels of 256 become intervals first: (255 x + u) / 256 with u uniform in [0, 1) (Theis et
            al. 2016, section 3.1). Without, the density of 8-bit images has no bound.
    """

    scale: float = 1.0
    learned: bool = False
    squashed: bool = True
    dequantised: bool = False

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ConfigError(f"scale = {self.scale} must be positive")

    @property
    def range(self) -> str:
        """See `Likelihood.range`."""
        return "[0, 1]; scale the data"

    def num_outputs(self, channels: int) -> int:
        """A mean a channel."""
        return channels

    def init(self) -> Params:
        """The scale's logarithm, where it is learned."""
        return {"log_scale": jnp.float32(math.log(self.scale))} if self.learned else {}

    def prepared(self, images: Images, index: Int[Array, "batch"], keys: Key[Array, "batch"]) -> Images:
        """With the noise, if any; see `Likelihood.prepared`."""
        if not self.dequantised:
            return images
        return (images * _LEVELS + _uniform(keys, images)) / (_LEVELS + 1)

    def supports(self, images: Float[Array, "..."]) -> Bool[Array, "..."]:
        """From 0 to 1: where images lie, though the density is positive everywhere."""
        return (images >= 0) & (images <= 1)

    def log_prob(self, params: Params, outputs: Outputs, images: Images) -> Float[Array, "*samples batch"]:
        """The normal log-density with its constant, summed; see `Likelihood.log_prob`."""
        pixels, means, log_scale = _flat(_aligned(images, outputs)), _flat(outputs), self._log_scale(params)
        if self.squashed:
            means = jax.nn.sigmoid(means)
        errors = jnp.square(pixels - means).sum(axis=-1)
        constant = pixels.shape[-1] * (log_scale + 0.5 * math.log(2.0 * math.pi))
        return self._only_inside(pixels, -0.5 * errors * jnp.exp(-2.0 * log_scale) - constant)

    def of_pixels(
        self, params: Params, outputs: Float[Array, "batch height width outputs"], images: Images
    ) -> Float[Array, "batch height width"]:
        """See `Likelihood.of_pixels`: of the middle of the interval, where there is one."""
        return super().of_pixels(
            params, outputs, (images * _LEVELS + 0.5) / (_LEVELS + 1) if self.dequantised else images
        )

    def mean(self, params: Params, outputs: Outputs) -> Float[Array, "*samples batch height width channels"]:
        """The means, clipped."""
        return jax.nn.sigmoid(outputs) if self.squashed else jnp.clip(outputs, 0.0, 1.0)

    def sample(
        self, params: Params, outputs: Float[Array, "batch height width outputs"], keys: Key[Array, "batch"]
    ) -> Images:
        """Means with noise."""
        means = jax.nn.sigmoid(outputs) if self.squashed else outputs
        noise = jax.vmap(lambda key: jax.random.normal(key, outputs.shape[1:]))(keys)
        return means + jnp.exp(self._log_scale(params)) * noise

    def _log_scale(self, params: Params) -> Any:
        return jnp.maximum(params["log_scale"], _SMALLEST) if self.learned else math.log(self.scale)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscretizedLogisticMixture(Likelihood):
    """Probabilities of the 256 levels by mixtures of logistics (Salimans et al. 2017, PixelCNN++, section 2.1 and 2.2).

    Probabilities of levels: `jgr.metrics.records.BitsPerDimension(scale=1)`. In colour images the mean of green depends
    on red, and that of blue on both.

    Args:
        num_mixtures: Of each pixel.
    """

    num_mixtures: int = 10

    def __post_init__(self) -> None:
        if self.num_mixtures < 1:
            raise ConfigError(f"num_mixtures = {self.num_mixtures} must be at least 1")

    @property
    def range(self) -> str:
        """See `Likelihood.range`."""
        return "multiples of 1/255 from 0 to 1; give it 8-bit images, not resized ones"

    def num_outputs(self, channels: int) -> int:
        """Weights, means, log-scales and, for colour images, coefficients: 3 or 10 times the mixtures."""
        if channels not in (1, 3):
            raise ConfigError(f"DiscretizedLogisticMixture is for images of 1 or 3 channels, not {channels}")
        return self.num_mixtures * (1 + 2 * channels + (3 if channels == 3 else 0))

    def supports(self, images: Float[Array, "..."]) -> Bool[Array, "..."]:
        """Multiples of 1/255."""
        levels = images * _LEVELS
        return (jnp.abs(levels - jnp.round(levels)) < 1e-3) & (images >= 0) & (images <= 1)

    def log_prob(self, params: Params, outputs: Outputs, images: Images) -> Float[Array, "*samples batch"]:
        """See `Likelihood.log_prob`; exact for all scales, without the density that the released code falls back to."""
        weights, means, log_scales, coefficients = self._split(outputs)
        images = _aligned(images, outputs)
        values = to_signed(images)[..., None, :]  # [..., height, width, 1, channels]
        means = _on_earlier(means, coefficients, values)
        inverse, half = jnp.exp(-log_scales), 1.0 / _LEVELS
        upper = (values - means + half) * inverse
        lower = (values - means - half) * inverse
        # s(a) - s(b) = s(a) s(-b) (1 - e^(b - a)) for the logistic function s
        between = -jax.nn.softplus(-upper) - jax.nn.softplus(lower) + jnp.log(-jnp.expm1(-2.0 * half * inverse))
        level = jnp.where(
            values < half - 1.0,
            -jax.nn.softplus(-upper),
            jnp.where(values > 1.0 - half, -jax.nn.softplus(lower), between),
        ).sum(axis=-1)
        pixels = jax.nn.logsumexp(jax.nn.log_softmax(weights) + level, axis=-1)
        return self._only_inside(_flat(images), pixels.sum(axis=(-2, -1)))

    def mean(self, params: Params, outputs: Outputs) -> Float[Array, "*samples batch height width channels"]:
        """The mixture's mean, clipped; of each colour given the means of those before."""
        weights, means, _, coefficients = self._split(outputs)
        shares = jax.nn.softmax(weights)[..., None]
        found: list[Array] = []
        for channel in range(means.shape[-1]):
            earlier = jnp.stack([*found, *[jnp.zeros_like(means[..., 0, 0])] * (means.shape[-1] - channel)], axis=-1)
            moved = _on_earlier(means, coefficients, earlier[..., None, :])
            found.append(jnp.clip((shares * moved).sum(axis=-2)[..., channel], -1.0, 1.0))
        return jnp.stack(found, axis=-1) * 0.5 + 0.5

    def sample(
        self, params: Params, outputs: Float[Array, "batch height width outputs"], keys: Key[Array, "batch"]
    ) -> Images:
        """Levels, red before green before blue."""
        weights, means, log_scales, coefficients = self._split(outputs)
        chosen = jax.vmap(jax.random.categorical)(folded(keys, 0), weights)
        pick = jax.nn.one_hot(chosen, self.num_mixtures)[..., None]
        means, log_scales, coefficients = (
            (pick * part).sum(axis=-2, keepdims=True) for part in (means, log_scales, coefficients)
        )
        uniform = _uniform(folded(keys, 1), means[..., 0, :])
        uniform = jnp.clip(uniform, 1e-5, 1.0 - 1e-5)
        noise = jnp.exp(log_scales[..., 0, :]) * (jnp.log(uniform) - jnp.log1p(-uniform))
        values = jnp.zeros_like(noise)
        for channel in range(means.shape[-1]):
            drawn = jnp.clip((_on_earlier(means, coefficients, values[..., None, :])[..., 0, :] + noise), -1.0, 1.0)
            values = values.at[..., channel].set(drawn[..., channel])
        return jnp.round((values * 0.5 + 0.5) * _LEVELS) / _LEVELS

    def _split(self, outputs: Outputs) -> tuple[Array, Array, Array, Array]:
        """Weights [..., mixtures]; means, log-scales and coefficients [..., mixtures, channels or 3]."""
        count, size = self.num_mixtures, outputs.shape[-1]
        channels = {3 * count: 1, 10 * count: 3}.get(size)
        if channels is None:
            raise ConfigError(f"outputs = {size}: num_mixtures = {count} needs {3 * count} or {10 * count}")
        weights, rest = outputs[..., :count], outputs[..., count:]
        rest = rest.reshape(*outputs.shape[:-1], count, -1)
        means, log_scales, coefficients = jnp.split(rest, [channels, 2 * channels], axis=-1)
        return weights, means, jnp.maximum(log_scales, _SMALLEST), jnp.tanh(coefficients)


def _on_earlier(means: Array, coefficients: Array, values: Array) -> Array:
    """Means of colours that depend on the values of those before; unchanged for gray."""
    if means.shape[-1] == 1:
        return means
    red, green = values[..., 0], values[..., 1]
    return jnp.stack(
        [
            means[..., 0],
            means[..., 1] + coefficients[..., 0] * red,
            means[..., 2] + coefficients[..., 1] * red + coefficients[..., 2] * green,
        ],
        axis=-1,
    )


def _aligned(images: Images, outputs: Outputs) -> Array:
    """Images with axes of length 1 before theirs, as many as the outputs have more."""
    return images.reshape((1,) * (outputs.ndim - images.ndim) + images.shape)


def _uniform(keys: Key[Array, "batch"], like: Array) -> Array:
    """In [0, 1), of each record its own; not the bits that latents are made of by the same key."""
    return jax.vmap(lambda key: jax.random.uniform(key, like.shape[1:]))(folded(keys, _PREPARED))


def _flat(values: Float[Array, "*samples batch height width channels"]) -> Float[Array, "*samples batch values"]:
    """All values of an image in a row: on CPU a sum over three axes, the last of length 1, takes many times as long."""
    return values.reshape(*values.shape[:-3], -1)


def _half_words(key: Key[Array, ""], count: int) -> UInt16[Array, "{count}"]:
    """16 random bits a value: they tell probabilities of 1/255 apart to 1 part in 250.

    The hash that `jax.random` is built on gives 64 bits at a time; `jax.random.bits` would use 16 of them, and take two
    to three times as long.
    """
    words = threefry_2x32(jax.random.key_data(key)[:2], jnp.arange(-(-count // 2), dtype=jnp.uint32))
    halves = jnp.concatenate([words >> 16, words & 0xFFFF]).astype(jnp.uint16)
    return halves[:count]
