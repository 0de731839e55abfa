"""FFDNet (Zhang et al. 2018): one denoiser for sigma 0 to 75 that is told the noise level, trained briefly on Train400.

    jgr train --config=configs/restoration/ffdnet_train400.py --workdir=runs/ffdnet
    jgr evaluate runs/ffdnet --step=best

4 minutes on 2 CPU cores (AMD EPYC, JAX 0.10.2) that did other work as well. With seed 0, sigma 25: 25.26 dB and SSIM
0.6706 on BSD68, below non-local means (27.49): the network is the published one for gray images; the paper trains it
for days, this does for minutes. Evaluated at sigma 25; another: `jgr evaluate runs/ffdnet
--config.evaluation.degradation.sigma=0.2`. A photograph: `jgr restore runs/ffdnet PHOTO --sigma=25/255 --out=DIR`.
`JGR_DATA` names the folder with `denoising/train400` and `denoising/bsd68`.
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
    bsd68 = dict(source=dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/denoising/bsd68", color="gray"))
    sigma = dict(cls="jgr.degradations.parameters.Uniform", low=0.0, high=75 / 255)
    config.data = dict(
        source=photographs if smoke else dict(train400, part="[:380]"),
        crop=48 if smoke else None,  # of photographs of several sizes; all of Train400 are 180x180
        augment=dict(flip=True, rotate=True, crop=16 if smoke else 64),
    )
    config.task = dict(
        cls="jgr.tasks.restoration.Restoration",
        network=dict(
            cls="jgr.models.ffdnet.FFDNet",
            channels=1,
            depth=3 if smoke else 15,
            width=8 if smoke else 64,
        ),
        degradation=dict(cls="jgr.degradations.noise.GaussianNoise", sigma=sigma),
        inputs=("sigma",),
        loss=dict(cls="jgr.losses.restoration.L1"),
        optimizer=dict(
            rule="optax.adam", learning_rate=1e-3, schedule=dict(decay="cosine", warmup="2%", end=0.01), clip_norm=1.0
        ),
    )
    config.train = dict(
        num_steps=2 if smoke else 600,
        batch_size=4 if smoke else 16,
        log_every=1 if smoke else 50,
        checkpoint_every=1 if smoke else 150,
        sample_every=2 if smoke else 300,
        num_samples=2 if smoke else 4,
        average=dict(half_life="1000 examples"),
    )
    psnr = dict(cls="jgr.metrics.pairs.PSNR", color="gray")
    config.evaluation = dict(
        data=held_out if smoke else bsd68,
        degradation=dict(cls="jgr.degradations.protocols.GaussianDenoising", sigma=25 / 255),
        batch_size=1,  # images of two sizes
        seeds=(0,),  # the protocol's noise does not depend on it
        metrics=dict(psnr=psnr, ssim=dict(cls="jgr.metrics.pairs.SSIM", color="gray")),
    )
    config.validation = dict(data=held_out, batch_size=4, metrics=dict(psnr=psnr))  # noise as in the training
    return config
