"""DnCNN-S (Zhang et al. 2017) for gray Gaussian noise of sigma 25: the published recipe on Train400.

    jgr train --config=configs/restoration/dncnn_train400.py --workdir=runs/dncnn_train400
    jgr evaluate runs/dncnn_train400

Published: 29.23 dB on BSD68. The recipe is 93,000 steps of 128 patches: two days on 2 CPU cores, so it was not run yet.
With weights that others released instead of a training (github.com/SaoYan/DnCNN-PyTorch, 29.21 dB there and here):

    jgr train --config=configs/restoration/dncnn_train400.py:released --workdir=runs/dncnn_released
    jgr evaluate runs/dncnn_released

`JGR_DATA` names the folder with `denoising/train400`, `denoising/bsd68` and `weights/dncnn_s25.npz`.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "released" holds released weights, "smoke" is small, for tests."""
    if arg not in ("", "released", "smoke"):
        raise ValueError(f"{arg!r} must be 'released', 'smoke' or nothing")
    smoke = arg == "smoke"
    config = ConfigDict()
    config.seed = 0
    train400 = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/denoising/train400", color="gray")
    photographs = dict(cls="jgr.data.photographs.Photographs", color="gray")
    bsd68 = dict(source=dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/denoising/bsd68", color="gray"))
    config.data = dict(
        source=photographs if smoke else train400,
        crop=48 if smoke else None,  # of photographs of several sizes; all of Train400 are 180x180
        augment=dict(flip=True, rotate=True, crop=12 if smoke else 40),
    )
    config.task = dict(
        cls="jgr.tasks.restoration.Restoration",
        network=dict(cls="jgr.models.dncnn.DnCNN", depth=3 if smoke else 17, width=4 if smoke else 64),
        degradation=dict(cls="jgr.degradations.noise.GaussianNoise", sigma=25 / 255),
        residual=True,
        loss=dict(cls="jgr.losses.restoration.L2"),
        # 1e-3, and 1e-4 after 30 of 50 epochs (the authors' code, version 1.1); here it falls smoothly over as long.
        optimizer=dict(rule="optax.adam", learning_rate=1e-3, schedule=dict(decay="cosine", end=0.01)),
    )
    config.train = dict(
        num_steps=dict(smoke=2, released=0).get(arg, 93_000),
        batch_size=4 if smoke else 128,
        log_every=1 if smoke else 100,
        checkpoint_every=1 if smoke else 3000,
        sample_every=2 if smoke else 3000,
        num_samples=2 if smoke else 4,
    )
    if arg == "released":
        config.train.init_from = dict(
            path="$JGR_DATA/weights/dncnn_s25.npz",
            names=(
                (r"(conv\d+/kernel)", r"params/network/\1"),
                (r"(bn\d+/(?:scale|bias))", r"params/network/\1"),
                (r"(bn\d+/(?:mean|var))", r"model_state/network/batch_stats/\1"),
            ),
        )
    config.evaluation = dict(
        data=dict(source=photographs, crop=32) if smoke else bsd68,
        degradation=dict(cls="jgr.degradations.protocols.GaussianDenoising", sigma=25 / 255),
        batch_size=1,  # images of two sizes
        seeds=(0,),  # the protocol's noise does not depend on it
        metrics=dict(
            psnr=dict(cls="jgr.metrics.pairs.PSNR", color="gray"),
            ssim=dict(cls="jgr.metrics.pairs.SSIM", color="gray"),
        ),
    )
    return config
