"""Random pipelines: steps that happen sometimes, one of several, or in random order.

Every record decides by itself, so under `jax.vmap` all alternatives are computed and one is taken. What one alternative
says of a record and another does not (`sigma`, `mask`, `kernel`, `quality`) is given the value that means nothing was
done: 0, all known, a single point, 1. What an alternative drops is dropped.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from jgr.degradations.degradation import Degradation, Record
from jgr.degradations.kernels import padded_kernel
from jgr.degradations.parameters import check_bounds, check_weights, draw_index, label_weighted
from jgr.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sometimes(Degradation):
    """A degradation that befalls some records and leaves others as they are.

    Args:
        degradation: The degradation; it must keep the image's size.
        probability: How likely it is.
    """

    degradation: Degradation
    probability: float

    def __post_init__(self) -> None:
        check_bounds("probability", self.probability, 0, 1)

    @property
    def name(self) -> str:
        """Such as "(0.8:blur-gaussian21-s2-reflect|0.2:clean)"."""
        return f"({label_weighted([self.degradation.name, 'clean'], (self.probability, 1 - self.probability))})"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`."""
        choice_key, step_key = jax.random.split(key)
        done = self.degradation.apply(record, step_key)
        index = jax.random.bernoulli(choice_key, self.probability).astype(jnp.int32)
        return _taken(index, [record, done], record, ["the image", self.degradation.name])


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneOf(Degradation):
    """One of several degradations, drawn for each record.

    Args:
        degradations: What may happen; all must give images of one size.
        weights: How likely each is, relative to the others; all equally without.
    """

    degradations: tuple[Degradation, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_weights("weights", self.weights, "degradations", self.degradations)

    @property
    def name(self) -> str:
        """Such as "(0.5:awgn-s25|0.5:poisson-p30)"."""
        return f"({label_weighted([one.name for one in self.degradations], self.weights)})"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; alternative i draws from a key of its own."""
        choice_key, step_key = jax.random.split(key)
        results = [one.apply(record, jax.random.fold_in(step_key, i)) for i, one in enumerate(self.degradations)]
        index = draw_index(choice_key, self.weights, len(results))
        return _taken(index, results, record, [one.name for one in self.degradations])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shuffled(Degradation):
    """All of several degradations, in an order drawn for each record. n of them cost as much as n².

    Args:
        steps: The degradations; each must keep the image's size.
    """

    steps: tuple[Degradation, ...]

    def __post_init__(self) -> None:
        check_weights("weights", (), "steps", self.steps)

    @property
    def name(self) -> str:
        """Such as "shuffled(awgn-s25+blur-gaussian15-s2-reflect)"."""
        return f"shuffled({'+'.join(step.name for step in self.steps)})"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; each step draws from a key of its own, whenever its turn is."""
        order_key, step_key = jax.random.split(key)
        order = jax.random.permutation(order_key, len(self.steps))
        names = [step.name for step in self.steps]
        for turn in range(len(self.steps)):
            results = [step.apply(record, jax.random.fold_in(step_key, i)) for i, step in enumerate(self.steps)]
            record = _taken(order[turn], results, record, names)
        return record


@dataclasses.dataclass(frozen=True, kw_only=True)
class Named(Degradation):
    """A degradation with a short name, for pipelines whose own would fill a page.

    Args:
        label: What to call it.
        degradation: The degradation.
    """

    label: str
    degradation: Degradation

    @property
    def name(self) -> str:
        """The label and a hash of the degradation's own name, so that other parameters have another name."""
        return f"{self.label}@{hashlib.sha256(self.degradation.name.encode()).hexdigest()[:6]}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`."""
        return self.degradation.apply(record, key)


def _taken(index: Int[Array, ""], results: Sequence[Record], before: Record, names: Sequence[str]) -> Record:
    """One of several records."""
    sizes = {name: result["image"].shape for name, result in zip(names, results, strict=True)}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {'x'.join(map(str, shape[:2]))}" for name, shape in sizes.items())
        raise ConfigError(f"alternatives must give images of one size, but they give {listed}")
    dropped = {key for key in before if any(key not in result for result in results)}
    keys = sorted({key for result in results for key in result} - dropped)
    return {key: jnp.stack(_filled(key, results))[index] for key in keys}


def _filled(key: str, results: Sequence[Record]) -> list[Array]:
    """A record's entry from all results, with the neutral value where a result has none."""
    present = [result[key] for result in results if key in result]
    if key == "kernel":
        size = max(kernel.shape[0] for kernel in present)
        middle = jnp.zeros((size, size)).at[size // 2, size // 2].set(1.0)
        return [padded_kernel(result[key], size) if key in result else middle for result in results]
    if len(present) == len(results):
        return present
    neutral = {"sigma": 0.0, "mask": 1.0, "quality": 1.0}
    if key not in neutral:
        raise ConfigError(f"an alternative sets {key!r} and another does not: let all of them set it")
    return [result.get(key, jnp.full_like(present[0], neutral[key])) for result in results]
