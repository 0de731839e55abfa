"""Image metrics beside scikit-image, Pillow, SciPy, torchmetrics and pytorch-msssim."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from metric_fidelity_definitions import ms_ssim_in_float64, ssim_in_float64
from metric_fidelity_inputs import Inputs, ms_ssim_pairs, tensors
from metric_fidelity_rows import Row

import jgr.metrics


def images_by_scikit_image(inputs: Inputs) -> Iterator[Row]:
    """PSNR, SSIM and colours."""
    from skimage.color import rgb2gray, rgb2ycbcr
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    for name, (image, target) in inputs.pairs.items():
        both = image[0], target[0]
        theirs = peak_signal_noise_ratio(*both[::-1], data_range=1.0)
        yield Row("psnr/scikit-image", "PSNR, dB", name, jgr.metrics.psnr(image, target)[0], theirs, 1e-4)
        if image.shape[3] == 3:
            y = [jgr.metrics.crop_border(jgr.metrics.luma(jnp.asarray(x, jnp.float32)), 4) for x in (image, target)]
            reference = [rgb2ycbcr(x)[4:-4, 4:-4, 0] for x in both]
            yield Row(
                "psnr-y/scikit-image",
                "PSNR of luma, border 4, dB",
                name,
                jgr.metrics.psnr(*y)[0],
                peak_signal_noise_ratio(*reference[::-1], data_range=255),
                1e-3,
            )
        ours = jgr.metrics.ssim(image, target)[0]
        settings: dict[str, Any] = dict(data_range=1.0, channel_axis=-1)
        yield Row(
            "ssim/scikit-image",
            "SSIM",
            name,
            ours,
            structural_similarity(*both, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, **settings),
            1e-6,
        )
        yield Row(
            "ssim-default/scikit-image",
            "SSIM, their defaults",
            name,
            ours,
            structural_similarity(*both, **settings),
            1e-6,
            adjusted=ssim_in_float64(*both, taps=np.full(7, 1 / 7), scale=49 / 48, border=3),
        )
    identical = inputs.photographs["astronaut"][None] / 255.0
    with np.errstate(divide="ignore"):
        infinite = peak_signal_noise_ratio(identical, identical, data_range=1.0)
    yield Row(
        "psnr/scikit-image",
        "PSNR, dB",
        "astronaut and itself",
        jgr.metrics.psnr(identical, identical)[0],
        infinite,
        0.0,
    )
    rgb = jnp.asarray(identical, jnp.float32)
    yield Row(
        "luma/scikit-image",
        "luma Y, of 255",
        "astronaut",
        255 * np.asarray(jgr.metrics.luma(rgb)[0, ..., 0], np.float64),
        rgb2ycbcr(identical[0])[..., 0],
        1e-4,
    )
    yield Row(
        "gray/scikit-image",
        "gray, of 1",
        "astronaut",
        jgr.metrics.gray(rgb)[0, ..., 0],
        rgb2gray(identical[0]),
        1e-6,
        adjusted=identical[0] @ [0.2125, 0.7154, 0.0721],
    )
    for name, pairs in inputs.sets.items():
        if len({image.shape for image, _ in pairs}) == 1:
            stacked = [np.concatenate(part) for part in zip(*pairs, strict=True)]
            yield Row(
                "pooled-psnr/scikit-image",
                "PSNR pooled, dB",
                name,
                jgr.metrics.pooled_psnr(*stacked),
                peak_signal_noise_ratio(*stacked[::-1], data_range=1.0),
                1e-4,
            )
        yield Row(
            "psnr/scikit-image",
            "PSNR of each image, dB",
            name,
            [jgr.metrics.psnr(*pair)[0] for pair in pairs],
            [peak_signal_noise_ratio(target, image, data_range=1.0) for image, target in pairs],
            1e-4,
        )
        yield Row(
            "ssim/scikit-image",
            "SSIM of each image",
            name,
            [jgr.metrics.ssim(*pair)[0] for pair in pairs],
            [
                structural_similarity(
                    image[0],
                    target[0],
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                    data_range=1.0,
                    channel_axis=-1,
                )
                for image, target in pairs
            ],
            1e-6,
        )


def gray_by_pillow(inputs: Inputs) -> Iterator[Row]:
    """Gray levels."""
    from PIL import Image

    image = inputs.photographs["astronaut"]
    yield Row(
        "gray/Pillow",
        "gray, levels",
        "astronaut",
        255 * jgr.metrics.quantised(jgr.metrics.gray(jnp.asarray(image[None] / 255.0, jnp.float32)))[0, ..., 0],
        np.asarray(Image.fromarray(image).convert("L"), np.float64),
        1e-4,
        adjusted=(image @ np.array([19595, 38470, 7471]) + 2**15) >> 16,
    )


def images_by_the_definition(inputs: Inputs) -> Iterator[Row]:
    """MS-SSIM written out in float64."""
    for case, metric, (name, (image, target)) in ms_ssim_pairs(inputs):
        yield Row(
            f"{case}/scipy",
            metric,
            name,
            jgr.metrics.ms_ssim(image, target)[0],
            ms_ssim_in_float64(image[0], target[0]),
            2e-6,
        )


def images_by_torchmetrics(inputs: Inputs) -> Iterator[Row]:
    """PSNR, SSIM and MS-SSIM."""
    import torch
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure,
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    for name, pairs in inputs.sets.items():
        if len({image.shape for image, _ in pairs}) > 1:
            continue
        images, targets = (np.concatenate(part) for part in zip(*pairs, strict=True))
        both = tensors(images, targets)
        yield Row(
            "psnr/torchmetrics",
            "PSNR, mean of the images, dB",
            name,
            jgr.metrics.psnr(images, targets).mean(),
            peak_signal_noise_ratio(*both, data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean"),
            1e-4,
        )
        yield Row(
            "psnr-default/torchmetrics",
            "PSNR, their defaults, dB",
            name,
            jgr.metrics.psnr(images, targets).mean(),
            peak_signal_noise_ratio(*both, data_range=1.0),
            1e-4,
            adjusted=jgr.metrics.pooled_psnr(images, targets),
        )
    for name, (image, target) in inputs.pairs.items():
        both = tensors(image, target)
        ours = jgr.metrics.ssim(image, target)[0]
        padded = ssim_in_float64(image[0], target[0])
        _, whole = structural_similarity_index_measure(*both, data_range=1.0, return_full_image=True)
        common: dict[str, Any] = dict(inputs=name, ours=ours)
        yield Row(
            case="ssim-inside/torchmetrics",
            metric="SSIM, their map without 5 pixels of border",
            theirs=whole[..., 5:-5, 5:-5].mean(),
            bound=1e-6,
            **common,
        )
        yield Row(
            case="ssim/torchmetrics",
            metric="SSIM",
            theirs=structural_similarity_index_measure(*both, data_range=1.0),
            adjusted=padded,
            bound=1e-6,
            **common,
        )
        yield Row(
            case="ssim-float32/torchmetrics",
            metric="SSIM of float32 images",
            theirs=structural_similarity_index_measure(*(x.to(torch.float32) for x in both), data_range=1.0),
            adjusted=padded,
            bound=2e-5,
            **common,
        )
    for case, metric, (name, (image, target)) in ms_ssim_pairs(inputs):
        if min(image.shape[1:3]) < 176:
            continue  # they refuse below that
        yield Row(
            f"{case}/torchmetrics",
            metric,
            name,
            jgr.metrics.ms_ssim(image, target)[0],
            multiscale_structural_similarity_index_measure(*tensors(image, target), data_range=1.0),
            2e-6,
            adjusted=ms_ssim_in_float64(image[0], target[0], odd="drop", as_torchmetrics=True),
        )


def images_by_pytorch_msssim(inputs: Inputs) -> Iterator[Row]:
    """SSIM and MS-SSIM."""
    from pytorch_msssim import ms_ssim, ssim
    from pytorch_msssim.ssim import _fspecial_gauss_1d

    taps = _fspecial_gauss_1d(11, 1.5).ravel().double().numpy()
    for name, (image, target) in inputs.pairs.items():
        yield Row(
            "ssim/pytorch-msssim",
            "SSIM",
            name,
            jgr.metrics.ssim(image, target)[0],
            ssim(*tensors(image, target), data_range=1.0),
            1e-6,
            adjusted=ssim_in_float64(image[0], target[0], taps=taps, border=5),
        )
    for case, metric, (name, (image, target)) in ms_ssim_pairs(inputs):
        yield Row(
            f"{case}/pytorch-msssim",
            metric,
            name,
            jgr.metrics.ms_ssim(image, target)[0],
            ms_ssim(*tensors(image, target), data_range=1.0),
            2e-6,
            adjusted=ms_ssim_in_float64(image[0], target[0], odd="zeros", taps=taps),
        )
