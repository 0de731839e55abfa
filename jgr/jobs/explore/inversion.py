"""Codes that a generator makes given images of, as far as it can: a search by gradient descent."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, UInt8

from jgr.errors import NonFiniteError
from jgr.images import to_float, to_uint8
from jgr.jobs.explore.codes import CodeSpace, Condition
from jgr.jobs.sampling import for_sampling
from jgr.mesh import Mesh, gathered
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState
from jgr.tasks.task import PixelModel

_LEARNING_RATE = 0.1  # Karras et al. 2020 (StyleGAN2), appendix D; latents and styles are of the order of 1


@dataclasses.dataclass(frozen=True)
class Inversion:
    """What was found for each image.

    Args:
        images: The reconstructions.
        composed: The given images, their unknown pixels replaced by those of the reconstruction.
        codes: What the generator makes them of: latents, or styles of every layer.
        labels: The class that each is generated as; None of an unconditional generator.
        psnr: Peak signal-to-noise ratio of the known pixels of each in dB, of 8-bit levels; infinite where they are met
            exactly.
    """

    images: UInt8[np.ndarray, "num height width channels"]
    composed: UInt8[np.ndarray, "num height width channels"]
    codes: Float[np.ndarray, "num *code"]
    labels: Int[np.ndarray, "num"] | None
    psnr: Float[np.ndarray, "num"]


@dataclasses.dataclass(frozen=True, eq=False)
class Inverter:
    """Searches the codes of given images.

    Adam lowers a loss from several starting points, with a rate that falls from 0.1 to 0 along half a cosine; the end
    with the lowest loss counts. The loss is the mean squared error of the known pixels; of a `PixelModel` it is
    -log p(known pixels | z) + w |z|^2 / 2 instead, whose minimum at w = 1 is the most probable latent given them.
    Styles of all layers are free of each other. What a generator draws besides stays as it is.

    Args:
        space: What is searched.
        state: The weights.
        mesh: The devices.
        seed: Decides the starting points, which are the same for every image.
        steps: Of Adam.
        restarts: Starting points, for each image and class.
        batch_size: Searches at a time.
        prior_weight: The w above.
    """

    space: CodeSpace
    state: TrainState
    mesh: Mesh
    seed: int
    steps: int
    restarts: int
    batch_size: int
    prior_weight: float = 1.0

    def num_steps(self, num_targets: int, num_classes: int) -> int:
        """Steps of all searches: what `search` tells `advance` in all."""
        return self.steps * -(-num_targets * num_classes * self.restarts // self._size(num_targets, num_classes))

    def search(
        self,
        targets: UInt8[np.ndarray, "num height width channels"],
        known: Bool[np.ndarray, "num height width"],
        classes: Sequence[int] | None,
        advance: Callable[[int], Any],
    ) -> Inversion:
        """The best found for each target.

        Args:
            targets: Images of the generator's size.
            known: Which of their pixels count, at least one of each; the others have no influence.
            classes: Labels that each search is done with; None of an unconditional generator.
            advance: Called with the number of steps done.

        Raises:
            NonFiniteError: If no search of an image stays finite.
        """
        labels = (0,) if classes is None else tuple(classes)
        searches = np.array(list(itertools.product(range(len(targets)), labels, range(self.restarts))), np.int32)
        size = self._size(len(targets), len(labels))
        seen = np.where(known[..., None], targets, np.uint8(0))
        best: dict[int, tuple[float, np.ndarray, np.ndarray, int]] = {}
        for start in range(0, len(searches), size):
            batch = searches[start : start + size]
            filled = np.resize(batch, (size, 3))
            losses, images, codes = self._run(seen[filled[:, 0]], known[filled[:, 0]], filled, advance)
            for (target, label, _), loss, image, code in zip(batch.tolist(), losses, images, codes, strict=False):
                finite = np.isfinite(loss) and np.isfinite(code).all()
                if finite and (target not in best or loss < best[target][0]):
                    best[target] = (loss, image, code, label)
        if lost := [number for number in range(len(targets)) if number not in best]:
            raise NonFiniteError(
                f"invert: image {lost[0]}: no search stayed finite; choose another seed, or a step before the training "
                "diverged"
            )
        found = [best[number] for number in range(len(targets))]
        images = np.stack([image for _, image, _, _ in found])
        return Inversion(
            images=images,
            composed=np.where(known[..., None], targets, images),
            codes=np.stack([code for _, _, code, _ in found]),
            labels=None if classes is None else np.array([label for *_, label in found]),
            psnr=psnr_of(images, targets, known),
        )

    def _size(self, num_targets: int, num_classes: int) -> int:
        return self.mesh.rounded_up(min(self.batch_size, num_targets * num_classes * self.restarts))

    def _run(
        self,
        targets: UInt8[np.ndarray, "batch height width channels"],
        known: Bool[np.ndarray, "batch height width"],
        searches: Int[np.ndarray, "batch 3"],
        advance: Callable[[int], Any],
    ) -> tuple[
        Float[np.ndarray, "batch"],
        UInt8[np.ndarray, "batch height width channels"],
        Float[np.ndarray, "batch *code"],
    ]:
        """Ends of searches: losses, images and codes."""
        state, (labels, starts) = for_sampling(self.state), (searches[:, 1], searches[:, 2])
        fixed = (np.uint32(self.seed % 2**32), starts, labels)
        begin, step, end = self._compiled
        with self.mesh.entered():
            codes, moments = begin(state, *fixed)
            for _ in range(self.steps):
                codes, moments = jax.block_until_ready(step(state, codes, moments, targets, known, *fixed))
                advance(1)
            ends: Any = jax.device_get(end(state, codes, targets, known, *fixed))
        return ends

    @functools.cached_property
    def _compiled(self) -> tuple[Callable[..., Any], ...]:
        """Starting points; a step of Adam; losses, images and codes of the ends."""
        rule = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, self.steps))
        space, batch = self.space, self.mesh.batch()

        def given(seed: Any, starts: Any, labels: Any) -> tuple[Any, Condition]:
            starts, labels = jax.lax.with_sharding_constraint((starts, labels), batch)
            condition = None if space.task.num_classes is None else {"label": labels}
            return record_keys(purpose_key(seed, "inversion"), starts), condition

        def begin(state: TrainState, *fixed: Any) -> tuple[Any, Any]:
            codes = space.draw(gathered(state), *given(*fixed))
            return codes, rule.init(codes)

        def losses(state: TrainState, codes: Array, targets: Array, known: Array, *fixed: Any) -> Array:
            keys, condition = given(*fixed)
            if isinstance(space.task, PixelModel):
                probable = space.task.pixel_log_probs(gathered(state), codes, keys, to_float(targets), condition)
                likelihood = jnp.where(known, probable, 0.0).sum(axis=(1, 2))
                return 0.5 * self.prior_weight * jnp.square(codes).sum(axis=1) - likelihood
            images = space.paint(gathered(state), codes, keys, condition)
            errors = jnp.where(known, jnp.square(images - to_float(targets)).mean(axis=3), 0.0)
            return errors.sum(axis=(1, 2)) / known.sum(axis=(1, 2))

        def step(state: TrainState, codes: Array, moments: Any, *told: Any) -> tuple[Any, Any]:
            # Of a sum over the batch: no search feels the others.
            slopes = jax.grad(lambda codes: losses(state, codes, *told).sum())(codes)
            updates, moments = rule.update(slopes, moments)
            return optax.apply_updates(codes, updates), moments

        def end(state: TrainState, codes: Array, targets: Array, known: Array, *fixed: Any) -> tuple[Any, Any, Any]:
            images = space.paint(gathered(state), codes, *given(*fixed))
            return losses(state, codes, targets, known, *fixed), to_uint8(images), codes

        return jax.jit(begin), jax.jit(step), jax.jit(end, out_shardings=self.mesh.replicated)


def psnr_of(
    images: UInt8[np.ndarray, "num height width channels"],
    targets: UInt8[np.ndarray, "num height width channels"],
    counted: Bool[np.ndarray, "num height width"],
) -> Float[np.ndarray, "num"]:
    """Peak signal-to-noise ratio in dB of the pixels that count, at least one of each image; infinite without error."""
    errors = np.square(images.astype(np.float64) - targets).mean(axis=3)
    means = np.where(counted, errors, 0.0).sum(axis=(1, 2)) / counted.sum(axis=(1, 2))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / means)
