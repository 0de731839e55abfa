"""A VAE of binarised MNIST with one layer of 50 latents: the first row of Burda et al. 2016, Table 1.

    jgr data prepare mnist
    jgr train --config=configs/vae/vae_mnist.py --workdir=runs/vae_mnist
    jgr evaluate runs/vae_mnist

Networks of 784-200-200-50 units with tanh; every pixel is drawn anew, with its brightness as probability, whenever a
record is seen. The paper has 86.76 negative nats by 5,000 samples after 3,280 epochs of 20 images a step; nbip/IWAE
measured 86.35.

Not measured yet. With `vae_mnist.py:iwae` the objective is the bound of 50 samples (84.78 in the paper, 84.59 in
nbip/IWAE), `vae_mnist.py:dreg` its doubly reparameterised gradient (84.32 in nbip/IWAE).
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "iwae" and "dreg" are other objectives, "smoke" is small, for tests."""
    if arg not in ("", "iwae", "dreg", "smoke"):
        raise ValueError(f"{arg!r} must be 'iwae', 'dreg', 'smoke' or nothing")
    smoke, weighted = arg == "smoke", arg in ("iwae", "dreg")
    config = ConfigDict()
    config.seed = 0
    config.data = dict(
        source=dict(cls="jgr.data.tfds.TFDS", dataset="mnist", split="train[:64]" if smoke else "train"),
    )
    widths = (8, 8) if smoke else (200, 200)
    config.task = dict(
        cls="jgr.tasks.vae.VAE",
        encoder=dict(cls="jgr.models.mlp_vae.Encoder", latent_dim=4 if smoke else 50, widths=widths),
        decoder=dict(
            cls="jgr.models.mlp_vae.Decoder",
            image_size=28,
            latent_dim=4 if smoke else 50,
            widths=widths,
            brightness=0.13,  # MNIST's mean
        ),
        likelihood=dict(cls="jgr.losses.likelihoods.Bernoulli", binarisation="dynamic"),
        objective=dict(
            cls="jgr.losses.variational.ImportanceWeighted", num_samples=50, doubly_reparameterized=arg == "dreg"
        )
        if weighted
        else dict(cls="jgr.losses.variational.ELBO"),
        optimizer=dict(learning_rate=1e-3, schedule=dict(decay="cosine")),
    )
    config.train = dict(
        num_steps=2 if smoke else "20 epochs" if weighted else "600 epochs",
        batch_size=8 if smoke else 100,
        steps_per_call=1 if smoke or weighted else 50,
        log_every=1 if smoke else 600,
        checkpoint_every=1 if smoke else "1 epoch" if weighted else "20 epochs",
        sample_every=2 if smoke else "5 epochs" if weighted else "100 epochs",
        num_samples=4 if smoke else 100,
        average=dict(half_life=0 if smoke else "2 epochs"),
    )
    config.evaluation = dict(
        data=dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="mnist", split="test[:16]" if smoke else "test")),
        batch_size=8 if smoke else 100,
        seeds=(0,),
        metrics=dict(
            elbo=dict(cls="jgr.metrics.records.LogLikelihood"),
            log_likelihood=dict(cls="jgr.metrics.records.LogLikelihood", num_samples=10 if smoke else 5000),
            active=dict(cls="jgr.metrics.records.ActiveUnits"),
        ),
    )
    return config
