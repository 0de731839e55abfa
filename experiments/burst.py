"""Burst denoising of BSD68 with 1, 2, 4 and 8 shots of sigma 50, beside the mean of the aligned shots.

JGR_DATA=/data jgr experiment experiments/burst.py
"""

from jgr.jobs.study import Arm, Study

CONFIG = "configs/restoration/burst_train400.py"
SHOTS = (1, 2, 4, 8)


def get_study() -> Study:
    """The study."""
    networks = [(f"attention-{count}", f"{CONFIG}:{count}") for count in SHOTS]
    networks.append(("stacked-8", f"{CONFIG}:8,stacked"))
    averages = [(f"average-{count}", f"{CONFIG}:{count},average") for count in SHOTS]
    return Study(
        title="Burst denoising, trained for minutes on two CPU cores",
        arms=tuple(Arm(name=name, config=config) for name, config in [*averages, *networks]),
        notes=(
            "Each shot has noise of sigma 50 / 255 of its own; all but the first are moved by up to 2 pixels along "
            "each axis. The first shot is the same in all rows, but the protocol is another for each number of shots, "
            "so that no two columns of numbers of shots are told apart.",
            "average: each shot is moved by whole pixels to where it agrees with the first best, and the mean is "
            "taken. attention: so moved, too, and told the network as a set; stacked: as channels, as they come.",
        ),
        pictures=True,
    )
