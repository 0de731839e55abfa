"""The two networks of a GAN, applied: what each is given, and what it gives."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from jgr.augmentations.augmentation import Augmentation
from jgr.errors import ConfigError
from jgr.rng import folded
from jgr.state import TrainState, Tree

Images = Float[Array, "batch height width channels"]

# What an image's key is folded with, for all but its latent: a draw for one purpose tells nothing about another's.
_NETWORK, REAL, FAKE, PENALTY, WRONG = 1, 2, 3, 4, 5


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a discriminator gives.

    Args:
        logits: Of images, of their patches, or of several captions of each.
        classes: Logits of the classes, of one with an auxiliary classifier.
        model_state: Of all networks, after.
    """

    logits: Float[Array, "batch *several"]
    classes: Float[Array, "batch classes"] | None
    model_state: dict[str, Tree]


@dataclasses.dataclass(frozen=True)
class Players:
    """See `jgr.tasks.gan.GAN`, whose fields these are."""

    generator: nn.Module
    discriminator: nn.Module
    condition_name: str | None
    augmentation: Augmentation | None

    @property
    def has_styles(self) -> bool:
        """Whether the generator maps latents to styles first."""
        return hasattr(self.generator, "synthesise")

    def init(self, key: Key[Array, ""], batch: Mapping[str, Array]) -> tuple[dict[str, Tree], dict[str, Tree]]:
        """Parameters and model state of both networks.

        Args:
            key: Of their random values.
            batch: Of at least 2 records, of which the shapes matter.

        Raises:
            ConfigError: If the generator's images are not of the size of the data's, or the discriminator's logits are
                not one an image or patch.
        """
        keys = dict(zip(("generator", "discriminator"), jax.random.split(key), strict=True))
        images, labels = batch["image"], self.first_labels(batch)
        inputs = {"generator": jnp.zeros((2, self._latent_dim)), "discriminator": images[:2]}
        modules = {"generator": self.generator, "discriminator": self.discriminator}
        for name, module in modules.items():
            if labels and "labels" not in inspect.signature(type(module).__call__).parameters:
                wrapper = "labelled" if self.condition_name == "label" else "captioned"
                raise ConfigError(
                    f"config.task.{name}: {type(module).__qualname__} takes no labels, but this GAN is told the "
                    f"{self.condition_name} of records; jgr.models.{wrapper} makes any network conditional"
                )
        # The shapes are compared before any network runs on them: a module's own error would not name the config.
        made, judged = (
            jax.eval_shape(lambda k, n=name: modules[n].init_with_output(k, inputs[n], **labels, train=True)[0], own)
            for name, own in keys.items()
        )
        if made.shape[1:] != images.shape[1:]:
            raise ConfigError(
                f"config.task.generator makes images of {_size(made.shape)} but the data has {_size(images.shape)}: "
                "set image_size and channels of both networks, or config.data.resize, so that they agree"
            )
        self._check_judged(judged)
        variables = {name: modules[name].init(keys[name], inputs[name], **labels, train=True) for name in modules}
        return {name: own.pop("params") for name, own in variables.items()}, variables

    def latents(self, keys: Key[Array, "batch"]) -> Float[Array, "batch latent"]:
        """Standard normal latents, one a key."""
        return jax.vmap(lambda key: jax.random.normal(key, (self._latent_dim,)))(keys)

    def labels(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What a conditional network is told besides: labels, or tokens of captions in their place."""
        return {} if self.condition_name is None else {"labels": batch[self.condition_name]}

    def first_labels(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Of two records, what they would be told, all 0."""
        return {name: jnp.zeros((2, *value.shape[1:]), jnp.int32) for name, value in self.labels(batch).items()}

    def draws(self, keys: Key[Array, "batch"]) -> dict[str, Any]:
        """What a generator draws from besides its latents."""
        return {"keys": folded(keys, _NETWORK)} if getattr(self.generator, "draws", False) else {}

    def condition(self, condition: Mapping[str, Int[Array, "batch *length"]] | None) -> dict[str, Any]:
        """The labels, or tokens, that a condition names.

        Raises:
            ValueError: If a condition is given and this GAN has none, or the other way round.
        """
        if (condition is None) != (self.condition_name is None):
            given = "no condition" if condition is None else f"the condition {sorted(condition)}"
            raise ValueError(f"this GAN is {'un' * (self.condition_name is None)}conditional, but was given {given}")
        return self.labels(condition or {})

    def sampled(self, state: TrainState, *arguments: Any, **options: Any) -> Any:
        """What the generator, or a method of it, gives outside training."""
        return self.generator.apply(self.variables(state.params["generator"], state.model_state), *arguments, **options)

    def variables(self, params: Tree, model_state: Mapping[str, Tree]) -> dict[str, Tree]:
        """The generator's, as Linen wants them."""
        return {"params": params, **model_state["generator"]}

    def generate(
        self, params: Tree, model_state: dict[str, Tree], keys: Key[Array, "batch"], batch: Mapping[str, Array]
    ) -> tuple[Images, dict[str, Tree]]:
        """Images in training, one a key, of the batch's labels; and the model state of all networks, after."""
        images: Any
        images, changed = self.generator.apply(
            self.variables(params, model_state),
            self.latents(keys),
            **self.labels(batch),
            **self.draws(keys),
            train=True,
            mutable=list(model_state["generator"]),
        )
        return images, model_state | {"generator": changed}

    def judge(
        self, params: Tree, model_state: dict[str, Tree], images: Images, batch: Mapping[str, Array]
    ) -> Judgement:
        """The judgement, in training, of images that are, or should be, of the batch's labels."""
        collections = model_state["discriminator"]
        judged: Any
        judged, changed = self.discriminator.apply(
            {"params": params, **collections}, images, **self.labels(batch), train=True, mutable=list(collections)
        )
        logits, classes = judged if isinstance(judged, tuple) else (judged, None)
        return Judgement(logits, classes, model_state | {"discriminator": changed})

    def judge_both(
        self,
        params: Tree,
        model_state: dict[str, Tree],
        images: Images,
        batch: Mapping[str, Array],
        wrong: Int[Array, "batch length"],
    ) -> tuple[Judgement, Judgement]:
        """`judge` of the batch's captions and of wrong ones, on the same images.

        Features of an image do not depend on its caption, so one pass makes them where the discriminator's head takes
        several captions: its `judges_several`.
        """
        assert self.condition_name is not None
        own = batch[self.condition_name]
        if getattr(getattr(self.discriminator, "head", None), "judges_several", False):
            both = self.judge(params, model_state, images, {self.condition_name: jnp.stack([own, wrong], axis=1)})
            right, wronged = (dataclasses.replace(both, logits=both.logits[:, i]) for i in range(2))
            return right, wronged
        right = self.judge(params, model_state, images, batch)
        return right, self.judge(params, right.model_state, images, {self.condition_name: wrong})

    def augmented(self, images: Images, keys: Key[Array, "batch"], purpose: int, strength: Float[Array, ""]) -> Images:
        """Images as the discriminator sees them."""
        return images if self.augmentation is None else self.augmentation(images, folded(keys, purpose), strength)

    @property
    def _latent_dim(self) -> int:
        return self.generator.latent_dim

    def _check_judged(self, judged: Any) -> None:
        """Raises ConfigError where the discriminator does not give what is wanted of it."""
        logits = judged[0] if isinstance(judged, tuple) else judged
        shape = getattr(logits, "shape", ())
        if shape[:1] != (2,) or len(shape) not in (1, 3):
            raise ConfigError(
                f"config.task.discriminator gives {list(shape)} for 2 images; it must give one logit each, [2], or one "
                "a patch, [2, rows, columns]"
            )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape[-3:])
