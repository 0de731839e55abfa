"""The classifier of scikit-learn's digits, enlarged to 16x16, in whose features generated ones are compared.

    jgr train --config=configs/classification/cnn_digits.py --workdir=runs/cnn_digits
    jgr evaluate runs/cnn_digits
    jgr weights pack runs/cnn_digits --out=jgr/metrics/data/cnn-digits.npz

35 to 60 s on 2 CPU cores (AMD EPYC, JAX 0.10.2); accuracy on the 360 test images 0.9833, 0.9750 and 0.9806 with seeds
0, 1 and 2 (results/classifiers).
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    config = ConfigDict()
    config.seed = 0
    digits, resize = "jgr.data.digits.Digits", None if smoke else 16  # bicubic
    config.data = dict(
        source=dict(cls=digits, split="train"),
        resize=resize,
        augment=dict(pad=1 if smoke else 2),  # random shifts
    )
    config.task = dict(
        cls="jgr.tasks.classification.Classification",
        network=dict(
            cls="jgr.models.classifier.ConvClassifier",
            num_classes=10,
            image_size=8 if smoke else 16,
            width=2 if smoke else 16,
        ),
        optimizer=dict(
            rule=dict(cls="optax.adamw", weight_decay=1e-4),
            learning_rate=3e-3,
            schedule=dict(decay="cosine", warmup=0 if smoke else "5%"),
        ),
    )
    config.train = dict(
        num_steps=2 if smoke else "60 epochs",
        batch_size=8 if smoke else 64,
        log_every=1 if smoke else 50,
        checkpoint_every=1 if smoke else 500,
        sample_every=0,  # it generates nothing
        average=dict(half_life="5000 examples"),  # 0: no average
    )
    config.evaluation = dict(
        data=dict(source=dict(cls=digits, split="test"), resize=resize),
        batch_size=16 if smoke else 360,
        seeds=(0,),  # nothing is drawn
        metrics=dict(accuracy=dict(cls="jgr.metrics.records.Accuracy")),
    )
    return config
