"""A recurrent denoiser: PReNet (Ren et al. 2019) of four stages against Gaussian noise of sigma 25, on Train400.

    jgr train --config=configs/restoration/prenet_train400.py --workdir=runs/prenet
    jgr evaluate runs/prenet --step=best

10 minutes on 2 CPU cores (AMD EPYC, JAX 0.10.2) that did other work as well. With seed 0: 27.88 dB and SSIM 0.7979 on
BSD68; non-local means have 27.49, BM3D 28.54. `--config.task.network.cell=gru` or `none`,
`--config.task.network.share_blocks=true` are the paper's other networks. `JGR_DATA` names the folder with
`denoising/train400` and `denoising/bsd68`.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    config = ConfigDict()
    config.seed = 0
    train400 = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/denoising/train400", color="gray")
    photographs = dict(cls="jgr.data.photographs.Photographs", color="gray")
    held_out = dict(source=photographs, crop=32) if smoke else dict(source=dict(train400, part="[380:]"))
    bsd68 = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/denoising/bsd68", color="gray")
    config.data = dict(
        source=photographs if smoke else dict(train400, part="[:380]"),
        crop=48 if smoke else None,  # of photographs of several sizes; all of Train400 are 180x180
        augment=dict(flip=True, rotate=True, crop=16 if smoke else 48),
    )
    config.task = dict(
        cls="jgr.tasks.restoration.Restoration",
        network=dict(
            cls="jgr.models.prenet.PReNet",
            channels=1,
            cell="lstm",
            width=4 if smoke else 32,
            stages=2 if smoke else 4,  # 6 in the paper
            blocks=1 if smoke else 5,
        ),
        degradation=dict(cls="jgr.degradations.noise.GaussianNoise", sigma=25 / 255),
        loss=dict(cls="jgr.losses.restoration.SSIM" if not smoke else "jgr.losses.restoration.L2"),
        optimizer=dict(rule="optax.adam", learning_rate=1e-3, schedule=dict(decay="cosine", end=0.01), clip_norm=1.0),
    )
    config.train = dict(
        num_steps=2 if smoke else 800,
        batch_size=4 if smoke else 8,
        log_every=1 if smoke else 50,
        checkpoint_every=1 if smoke else 200,
        sample_every=2 if smoke else 400,
        num_samples=2 if smoke else 4,
        average=dict(half_life="1500 examples"),
    )
    psnr = dict(cls="jgr.metrics.pairs.PSNR", color="gray")
    config.evaluation = dict(
        data=held_out if smoke else dict(source=bsd68),
        degradation=dict(cls="jgr.degradations.protocols.GaussianDenoising", sigma=25 / 255),
        batch_size=1,  # images of two sizes
        seeds=(0,),  # the protocol's noise does not depend on it
        metrics=dict(psnr=psnr, ssim=dict(cls="jgr.metrics.pairs.SSIM", color="gray")),
    )
    config.validation = dict(data=held_out, batch_size=4, metrics=dict(psnr=psnr))
    return config
