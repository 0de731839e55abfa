"""Inpainting of captioned MNIST with 75 % missing, with sentences and without, three seeds each.

jgr data prepare mnist
jgr experiment experiments/captioned_inpainting.py
"""

from jgr.jobs.study import Arm, Study

CONFIG = "configs/text/inpainting_captioned_mnist.py"


def get_study() -> Study:
    """The study."""
    return Study(
        title="Inpainting with and without the help of a sentence, trained for minutes on two CPU cores",
        arms=(
            Arm(name="blind", config=f"{CONFIG}:blind", seeds=(0, 1, 2)),
            Arm(name="text", config=CONFIG, seeds=(0, 1, 2)),
        ),
        notes=(
            "A quarter of the image is known, a rectangle at any place. The networks are equal but for what is told "
            "them of the sentence.",
            "class_kept is the share of restored digits that jgr's classifier of MNIST takes for what it takes the "
            "clean image for.",
        ),
        pictures=True,
    )
