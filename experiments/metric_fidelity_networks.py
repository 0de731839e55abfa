"""LPIPS, the Inception network and its resizes beside others', with seeded random weights that both sides share."""

import functools
import math
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from metric_fidelity_features import moments_of, torch_fidelity_distance
from metric_fidelity_inputs import Inputs, Pair, lpips_pair, tensors, to_resize
from metric_fidelity_rows import Row

import jgr.metrics
from jgr.metrics import perceptual, resize
from jgr.models import inception


def resize_by_pillow(inputs: Inputs) -> Iterator[Row]:
    """The resize of clean-fid."""
    from PIL import Image

    for inputs_name, images in to_resize(inputs).items():
        theirs = [
            np.stack(
                [
                    Image.fromarray(image[..., c].astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
                    for c in range(3)
                ],
                axis=-1,
            )
            for image in images
        ]
        yield Row(
            "clean/Pillow",
            "resize `clean`, of 255",
            inputs_name,
            _resized("clean", images),
            np.clip(theirs, 0, 255),
            2e-3,
        )


def lpips_by_its_package(inputs: Inputs) -> Iterator[Row]:
    """LPIPS, its trunks with random weights that both share."""
    import lpips
    import torch

    images, targets = lpips_pair(inputs)
    for net in ("alex", "vgg", "squeeze"):
        reference = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
        params = _share_trunk(net, reference)
        with torch.no_grad():
            theirs = reference(*(2 * x - 1 for x in tensors(images, targets))).ravel()
        yield Row(
            "lpips/lpips",
            f"LPIPS v0.1, {net}",
            f"{len(images)} thumbnails, noise 20; random trunk",
            jgr.metrics.lpips(jnp.asarray(images), jnp.asarray(targets), params, net),
            theirs,
            1e-5,
            relative=True,
        )


def lpips_by_torchmetrics(inputs: Inputs) -> Iterator[Row]:
    """LPIPS once more: their port of the package."""
    import torch
    from torchmetrics.functional.image.lpips import _LPIPS

    images, targets = lpips_pair(inputs)
    for net in ("alex", "vgg", "squeeze"):
        reference = _LPIPS(net=net, pnet_rand=True)
        params = _share_trunk(net, reference)
        with torch.no_grad():
            theirs = reference(*(2 * x - 1 for x in tensors(images, targets))).ravel()
        yield Row(
            "lpips/torchmetrics",
            f"LPIPS v0.1, {net}",
            f"{len(images)} thumbnails, noise 20; random trunk",
            jgr.metrics.lpips(jnp.asarray(images), jnp.asarray(targets), params, net),
            theirs,
            1e-5,
            relative=True,
        )


def resize_by_torch(inputs: Inputs) -> Iterator[Row]:
    """The resize of pytorch-fid."""
    import torch

    for name, images in to_resize(inputs).items():
        resized = torch.nn.functional.interpolate(
            tensors(images).float(), size=(299, 299), mode="bilinear", align_corners=False
        )
        yield Row(
            "legacy_pytorch/torch",
            "resize `legacy_pytorch`, of 255",
            name,
            _resized("legacy_pytorch", images),
            resized.permute(0, 2, 3, 1),
            1e-3,
        )


def inception_by_pytorch_fid(inputs: Inputs) -> Iterator[Row]:
    """Its network with random weights that both share."""
    import pytorch_fid.inception
    import torch

    weights = _inception_weights()
    original = pytorch_fid.inception.load_state_dict_from_url
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: _as_tensors(weights)
    try:
        network = pytorch_fid.inception.InceptionV3().eval()
    finally:
        pytorch_fid.inception.load_state_dict_from_url = original
    images = inputs.thumbnails
    with torch.no_grad():
        (theirs,) = network(tensors(images).float() / 255)
    features, _ = _inception(images, "legacy_pytorch", weights)
    yield Row(
        "inception/pytorch-fid",
        "Inception features, `legacy_pytorch`",
        f"{len(images)} thumbnails; random weights",
        features,
        theirs[:, :, 0, 0],
        1e-5,
        relative=True,
    )


def inception_by_torch_fidelity(inputs: Inputs) -> Iterator[Row]:
    """Its resize, its network with random weights that both share, and FID from images."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    for name, images in to_resize(inputs).items():
        theirs = interpolate_bilinear_2d_like_tensorflow1x(
            tensors(images).float(), size=(299, 299), align_corners=False
        )
        yield Row(
            "tf1_bilinear/torch-fidelity",
            "resize `tf1_bilinear`, of 255",
            name,
            _resized("tf1_bilinear", images),
            theirs.permute(0, 2, 3, 1),
            0.0,
        )

    weights = _inception_weights()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/weights.pth"
        torch.save(_as_tensors(weights), path)
        network = FeatureExtractorInceptionV3(
            "random", ["2048", "logits_unbiased"], feature_extractor_weights_path=path
        )
    images = inputs.thumbnails
    ours = _inception(images, "tf1_bilinear", weights)
    theirs = network(tensors(images))
    for what, mine, other in zip(("features", "logits"), ours, theirs, strict=True):
        yield Row(
            "inception/torch-fidelity",
            f"Inception {what}, `tf1_bilinear`",
            f"{len(images)} thumbnails; random weights",
            mine,
            other,
            1e-5,
            relative=True,
        )
    turned = images[:, ::-1]
    fid = jgr.metrics.frechet_distance(moments_of(ours[0]), moments_of(_inception(turned, "tf1_bilinear", weights)[0]))
    pair = theirs[0].double().numpy(), network(tensors(turned))[0].double().numpy()
    what = f"{len(images)} thumbnails, and upside down; random weights"
    own = jgr.metrics.frechet_distance(*map(moments_of, pair))
    yield Row(
        "fid-features/torch-fidelity", "FID from images, their features, our distance", what, fid, own, 1e-5, True
    )
    yield Row("fid/torch-fidelity", "FID from images", what, fid, torch_fidelity_distance(*pair), 1e-5, True)


def _resized(name: str, images: np.ndarray) -> Any:
    return jax.jit(resize.RESIZES[name], static_argnums=1)(jnp.asarray(images), (299, 299))


def _share_trunk(net: str, reference: Any) -> Any:
    """Gives the other network's trunk seeded random weights; returns jgr's parameters of the same."""
    import torch

    random, weights = np.random.RandomState(0), {}
    with torch.no_grad():
        for name, parameter in reference.net.named_parameters():  # slice1.0.weight, or slices.0.0.weight
            value = _random_weight(random, name, tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(value))
            weights[re.sub(r"^(slice\d|slices\.\d)\.", "features.", name)] = value
    return perceptual.from_torch(net, weights)


@functools.cache
def _inception_weights() -> dict[str, np.ndarray]:
    """A state dict of seeded random numbers with the names and shapes of the published one."""
    import torchvision

    network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    random = np.random.RandomState(0)
    return {name: _random_weight(random, name, tuple(value.shape)) for name, value in network.state_dict().items()}


def _random_weight(random: np.random.RandomState, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Under which signals neither fade nor grow."""
    if name.endswith("num_batches_tracked"):
        return np.array(0)
    if len(shape) > 1:
        bound = math.sqrt(6 / math.prod(shape[1:]))
        return random.uniform(-bound, bound, shape).astype(np.float32)
    low, high = (0.5, 1.5) if name.endswith(("bn.weight", "running_var")) else (-0.3, 0.3)
    return random.uniform(low, high, shape).astype(np.float32)


def _as_tensors(weights: dict[str, np.ndarray]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(value.copy()) for name, value in weights.items()}


@functools.cache
def _inception_function(resized: str) -> Callable[..., Any]:
    def function(params: Any, images: Any) -> Any:
        return inception.InceptionV3().apply({"params": params}, resize.inception_input(images, resized))

    return jax.jit(function)


def _inception(images: np.ndarray, resized: str, weights: dict[str, np.ndarray]) -> Pair:
    """Features and logits of jgr's network."""
    features, logits = _inception_function(resized)(inception.from_torch(weights), jnp.asarray(images))
    return np.asarray(features), np.asarray(logits)
