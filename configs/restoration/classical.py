"""Classical methods on the test sets of the networks beside this file, as runs that are not trained.

    jgr train --config=configs/restoration/classical.py --workdir=runs/bm3d
    jgr evaluate runs/bm3d

BM3D at sigma 25 on BSD68, unless an argument names another of `METHODS`: classical.py:nlm. Nothing is trained; the
first command takes seconds. `JGR_DATA` names the folder with the test sets.
"""

from ml_collections import ConfigDict

BLUR = dict(cls="jgr.degradations.kernels.GaussianKernel", size=15, sigma=1.6)
DARK = dict(
    cls="jgr.degradations.degradation.Pipeline",
    steps=(
        dict(
            cls="jgr.degradations.light.LowLight",
            exposure=dict(cls="jgr.degradations.parameters.Uniform", low=0.1, high=0.4),
        ),
        dict(cls="jgr.degradations.noise.GaussianNoise", sigma=2 / 255),
    ),
)


def folder(path: str, **fields: object) -> dict:
    """A folder of images below `JGR_DATA`."""
    return dict(source=dict(cls="jgr.data.folder.ImageFolder", path=f"$JGR_DATA/{path}", **fields))


def protocol(name: str, **fields: object) -> dict:
    """A protocol of `jgr.degradations.protocols`."""
    return dict(cls=f"jgr.degradations.protocols.{name}", **fields)


def metrics(*regions: str, **fields: object) -> dict:
    """PSNR, over other regions than all too, and SSIM."""
    psnr = dict(cls="jgr.metrics.pairs.PSNR", **fields)
    named = {f"psnr_{region}": dict(psnr, region=region) for region in regions}
    return dict(psnr=psnr, **named, ssim=dict(cls="jgr.metrics.pairs.SSIM", **fields))


def super_resolution(scale: int, luma: bool = False) -> dict:
    """Set5, shrunk; in colour, or luma alone, as the rows "bicubic" of many tables are."""
    return dict(
        data=folder("sr/set5"),
        degradation=protocol("SuperResolution", scale=scale, luma=luma),
        metrics=metrics(color="gray" if luma else "y", crop=scale),
    )


def jpeg(quality: int) -> dict:
    """Classic5, compressed."""
    return dict(
        data=folder("jpeg/classic5", color="gray"),
        degradation=protocol("JPEGArtifacts", quality=quality),
        metrics=metrics(color="gray"),
    )


def denoising(sigma: int) -> dict:
    """BSD68 with noise."""
    return dict(
        data=folder("denoising/bsd68", color="gray"),
        degradation=protocol("GaussianDenoising", sigma=sigma / 255),
        metrics=metrics(color="gray"),
    )


INPAINTING = dict(
    data=folder("denoising/bsd68", color="gray", part="[:20]"),
    degradation=protocol("Inpainting", keep=0.5),
    metrics=metrics("holes", color="gray"),
)
DEBLURRING = dict(
    data=folder("color/bsds500_test", part="[:20]"),
    degradation=protocol("Deblurring", kernel=BLUR, sigma=2 / 255, boundary="reflect"),
    metrics=metrics(),
)
LOW_LIGHT = dict(
    data=folder("color/bsds500_test", part="[:20]"),
    degradation=protocol("Seeded", degradation=DARK),
    metrics=metrics(),
)

CANDLELIGHT = dict(
    LOW_LIGHT,
    degradation=protocol("Seeded", degradation=dict(cls="jgr.degradations.tint.Tint", factors=(1.0, 0.7, 0.4))),
)

METHODS = {  # name: (test, class in jgr.models.classical, its fields, how much larger it makes images)
    "noisy": (denoising(25), "Degraded", {}, 1),
    "bm3d": (denoising(25), "BM3D", {}, 1),
    "nlm": (denoising(25), "NonLocalMeans", {}, 1),
    "tv": (denoising(25), "TotalVariation", {}, 1),
    "wavelet": (denoising(25), "Wavelet", {}, 1),
    **{f"bicubic-x{scale}": (super_resolution(scale), "Bicubic", dict(scale=scale), scale) for scale in (2, 3, 4)},
    **{
        f"bicubic-x{scale}-luma": (super_resolution(scale, luma=True), "Bicubic", dict(scale=scale), scale)
        for scale in (2, 3, 4)
    },
    **{f"jpeg-q{quality}": (jpeg(quality), "Degraded", {}, 1) for quality in (10, 20, 30, 40)},
    "masked": (INPAINTING, "Degraded", {}, 1),
    "biharmonic": (INPAINTING, "Biharmonic", {}, 1),
    "blurred": (DEBLURRING, "Degraded", {}, 1),
    "wiener": (DEBLURRING, "Wiener", {}, 1),
    "richardson-lucy": (DEBLURRING, "RichardsonLucy", {}, 1),
    "dark": (LOW_LIGHT, "Degraded", {}, 1),
    "tinted": (CANDLELIGHT, "Degraded", {}, 1),
}


def get_config(arg: str = "") -> ConfigDict:
    """The config of a method; "smoke" makes it small, for tests."""
    smoke = arg == "smoke"
    name = "bm3d" if arg in ("", "smoke") else arg
    if name not in METHODS:
        raise ValueError(f"{arg!r} must be 'smoke', nothing or one of {', '.join(METHODS)}")
    test, method, fields, scale = METHODS[name]
    photographs = dict(source=dict(cls="jgr.data.photographs.Photographs", color="gray"), crop=48)
    config = ConfigDict()
    config.seed = 0
    config.data = photographs if smoke else test["data"]  # nothing is trained
    config.task = dict(
        cls="jgr.tasks.baseline.Baseline", method=dict(cls=f"jgr.models.classical.{method}", **fields), scale=scale
    )
    config.train = dict(num_steps=0, batch_size=1)
    # Images of several sizes go one by one; nothing that the protocols draw depends on the evaluation's seed.
    config.evaluation = dict(test, batch_size=1, seeds=(0,))
    if smoke:
        config.evaluation.data = photographs
    return config
