"""The classifiers in whose features small images are compared: how well they classify.

jgr experiment experiments/classifiers.py
jgr weights pack runs/classifiers/cnn-mnist-s0 --out=jgr/metrics/data/cnn-mnist.npz
jgr weights pack runs/classifiers/cnn-digits-s0 --out=jgr/metrics/data/cnn-digits.npz
"""

from jgr.jobs.study import Arm, Published, Study


def get_study() -> Study:
    """The study."""
    return Study(
        title="Classifiers of small digits",
        arms=(
            Arm(name="cnn-mnist", config="configs/classification/cnn_mnist.py", seeds=(0, 1, 2)),
            Arm(name="cnn-digits", config="configs/classification/cnn_digits.py", seeds=(0, 1, 2)),
        ),
        published=(
            Published(
                name="LeNet-5 on MNIST",
                metric="accuracy",
                value=0.9905,
                source="LeCun et al. 1998, figure 9: 0.95 % error",
                arm="cnn-mnist",
                note="without distortions, which this one has in part: shifts by up to 2 pixels",
            ),
        ),
    )
