"""A VAE (Kingma & Welling 2014) with two latents on scikit-learn's 1,797 handwritten digits, 8x8: pictures of a plane.

    jgr train --config=configs/vae/vae_digits.py --workdir=runs/vae_digits
    jgr evaluate runs/vae_digits
    jgr sample runs/vae_digits --latent_map --out=map.png

48 seconds on two CPU cores beside other work (AMD EPYC, JAX 0.10.2). On the 360 test digits, binarised anew for each of
three seeds: ELBO -23.42 ± 0.19 nats, bound of 100 samples -22.88 ± 0.28, both latents active.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    config = ConfigDict()
    config.seed = 0
    config.data = dict(source=dict(cls="jgr.data.digits.Digits", split="train"))
    size = dict(latent_dim=2, widths=(16,) if smoke else (256, 256), activation="tanh")  # or "relu", "gelu"
    config.task = dict(
        cls="jgr.tasks.vae.VAE",
        encoder=dict(cls="jgr.models.mlp_vae.Encoder", **size),
        # The mean of the training images is 0.305.
        decoder=dict(cls="jgr.models.mlp_vae.Decoder", image_size=8, channels=1, brightness=0.305, **size),
        likelihood=dict(cls="jgr.losses.likelihoods.Bernoulli", binarisation="dynamic"),
        objective=dict(cls="jgr.losses.variational.ELBO", beta=1.0),
        optimizer=dict(rule=dict(cls="optax.adam"), learning_rate=1e-3),
    )
    config.train = dict(
        num_steps=2 if smoke else 10_000,
        steps_per_call=1 if smoke else 50,
        batch_size=8 if smoke else 100,
        log_every=1 if smoke else 500,
        checkpoint_every=1 if smoke else 2500,
        sample_every=2 if smoke else 2500,
        num_samples=4 if smoke else 64,
        average=dict(half_life="10000 examples"),  # 0: no average
    )
    record = "jgr.metrics.records"
    config.evaluation = dict(
        data=dict(source=dict(cls="jgr.data.digits.Digits", split="test")),
        num_samples=16 if smoke else 360,
        batch_size=16 if smoke else 180,
        seeds=(0,) if smoke else (0, 1, 2),  # samples and binarisations are drawn and scored once for each
        metrics=dict(
            elbo=dict(cls=f"{record}.LogLikelihood", num_samples=1),
            log_likelihood=dict(cls=f"{record}.LogLikelihood", num_samples=4 if smoke else 100),
            active_units=dict(cls=f"{record}.ActiveUnits"),
            fd_pixels=dict(cls="jgr.metrics.distribution.FrechetDistance"),
        ),
    )
    return config
