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
from jaxtyping import Array, Float, Int, UInt8

from jgr.errors import NonFiniteError
from jgr.images import to_float, to_uint8
from jgr.jobs.explore.codes import CodeSpace, Condition
from jgr.jobs.sampling import for_sampling
from jgr.mesh import Mesh, gathered
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState

_LEARNING_RATE = 0.1  # Karras et al. 2020 (StyleGAN2), appendix D; latents and styles are of the order of 1


@dataclasses.dataclass(frozen=True)
class Inversion:
    """What was found for each image.

    Args:
        images: The reconstructions.
        codes: What the generator makes them of: latents, or styles of every layer.
        labels: The class that each is generated as; None of an unconditional generator.
        psnr: Peak signal-to-noise ratio of each in dB, of 8-bit levels; infinite where it is met exactly.
    """

    images: UInt8[np.ndarray, "num height width channels"]
    codes: Float[np.ndarray, "num *code"]
    labels: Int[np.ndarray, "num"] | None
    psnr: Float[np.ndarray, "num"]


@dataclasses.dataclass(frozen=True, eq=False)
class Inverter:
    """Searches the codes of given images.

    Adam lowers the mean squared error from several starting points, with a rate that falls from 0.1 to 0 along half a
    cosine; the best end counts. Styles of all layers are free of each other. What a generator draws besides stays
    as it is.

    Args:
        space: What is searched.
        state: The weights.
        mesh: The devices.
        seed: Decides the starting points, which are the same for every image.
        steps: Of Adam.
        restarts: Starting points, for each image and class.
        batch_size: Searches at a time.
    """

    space: CodeSpace
    state: TrainState
    mesh: Mesh
    seed: int
    steps: int
    restarts: int
    batch_size: int

    def num_steps(self, num_targets: int, num_classes: int) -> int:
        """Steps of all searches: what `search` tells `advance` in all."""
        return self.steps * -(-num_targets * num_classes * self.restarts // self._size(num_targets, num_classes))

    def search(
        self,
        targets: UInt8[np.ndarray, "num height width channels"],
        classes: Sequence[int] | None,
        advance: Callable[[int], Any],
    ) -> Inversion:
        """The best found for each target.

        Args:
            targets: Images of the generator's size.
            classes: Labels that each search is done with; None of an unconditional generator.
            advance: Called with the number of steps done.

        Raises:
            NonFiniteError: If no search of an image stays finite.
        """
        labels = (0,) if classes is None else tuple(classes)
        searches = np.array(list(itertools.product(range(len(targets)), labels, range(self.restarts))), np.int32)
        size = self._size(len(targets), len(labels))
        best: dict[int, tuple[float, np.ndarray, np.ndarray, int]] = {}
        for start in range(0, len(searches), size):
            batch = searches[start : start + size]
            filled = np.resize(batch, (size, 3))
            images, codes = self._run(targets[filled[:, 0]], filled, advance)
            for (target, label, _), image, code in zip(batch.tolist(), images, codes, strict=False):
                error = float(np.square(image.astype(np.float64) - targets[target]).mean())
                if np.isfinite(code).all() and (target not in best or error < best[target][0]):
                    best[target] = (error, image, code, label)
        if lost := [number for number in range(len(targets)) if number not in best]:
            raise NonFiniteError(
                f"invert: image {lost[0]}: no search stayed finite; choose another seed, or a step before the training "
                "diverged"
            )
        found = [best[number] for number in range(len(targets))]
        with np.errstate(divide="ignore"):
            psnr = 10 * np.log10(255**2 / np.array([error for error, *_ in found]))
        return Inversion(
            images=np.stack([image for _, image, _, _ in found]),
            codes=np.stack([code for _, _, code, _ in found]),
            labels=None if classes is None else np.array([label for *_, label in found]),
            psnr=psnr,
        )

    def _size(self, num_targets: int, num_classes: int) -> int:
        return self.mesh.rounded_up(min(self.batch_size, num_targets * num_classes * self.restarts))

    def _run(
        self,
        targets: UInt8[np.ndarray, "batch height width channels"],
        searches: Int[np.ndarray, "batch 3"],
        advance: Callable[[int], Any],
    ) -> tuple[UInt8[np.ndarray, "batch height width channels"], Float[np.ndarray, "batch *code"]]:
        """Ends of searches, as images and codes."""
        state, (labels, starts) = for_sampling(self.state), (searches[:, 1], searches[:, 2])
        fixed = (np.uint32(self.seed % 2**32), starts, labels)
        begin, step, end = self._compiled
        with self.mesh.entered():
            codes, moments = begin(state, *fixed)
            for _ in range(self.steps):
                codes, moments = jax.block_until_ready(step(state, codes, moments, targets, *fixed))
                advance(1)
            images, codes = jax.device_get(end(state, codes, *fixed))
        return images, codes

    @functools.cached_property
    def _compiled(self) -> tuple[Callable[..., Any], ...]:
        """Starting points; a step of Adam; images of the codes."""
        rule = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, self.steps))
        space, batch = self.space, self.mesh.batch()

        def given(seed: Any, starts: Any, labels: Any) -> tuple[Any, Condition]:
            starts, labels = jax.lax.with_sharding_constraint((starts, labels), batch)
            condition = None if space.task.num_classes is None else {"label": labels}
            return record_keys(purpose_key(seed, "inversion"), starts), condition

        def begin(state: TrainState, *fixed: Any) -> tuple[Any, Any]:
            codes = space.draw(gathered(state), *given(*fixed))
            return codes, rule.init(codes)

        def step(state: TrainState, codes: Array, moments: Any, targets: Array, *fixed: Any) -> tuple[Any, Any]:
            keys, condition = given(*fixed)

            def error(codes: Array) -> Array:
                images = space.paint(gathered(state), codes, keys, condition)
                # A sum over the batch: no search feels the others.
                return jnp.square(images - to_float(targets)).mean(axis=(1, 2, 3)).sum()

            updates, moments = rule.update(jax.grad(error)(codes), moments)
            return optax.apply_updates(codes, updates), moments

        def end(state: TrainState, codes: Array, *fixed: Any) -> tuple[Any, Any]:
            return to_uint8(space.paint(gathered(state), codes, *given(*fixed))), codes

        return jax.jit(begin), jax.jit(step), jax.jit(end, out_shardings=self.mesh.replicated)
