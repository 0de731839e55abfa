"""pix2pix and CycleGAN on BSDS500's photographs, trained for minutes on two CPU cores.

JGR_DATA=/data jgr experiment experiments/image_to_image.py
python experiments/draw_curves.py results/image_to_image --apart
"""

from jgr.jobs.study import Arm, Study


def get_study() -> Study:
    """The study."""
    return Study(
        title="Image to image, trained for minutes on two CPU cores",
        arms=(
            Arm(name="pix2pix-edges", config="configs/image_to_image/pix2pix_edges_bsds500.py"),
            Arm(name="cyclegan-tint", config="configs/image_to_image/cyclegan_bsds500.py"),
            Arm(name="tinted", config="configs/restoration/classical.py:tinted"),
        ),
        notes=(
            "pix2pix draws photographs of 64x64 pixels from their edges; its PSNR says little, since edges do not tell "
            "colours: one colour for all, the training photographs' mean, has 13.2 dB. It is far from trained.",
            "CycleGAN undoes a tint without ever seeing a pair: its two sets are of different photographs. Only the "
            "test images are pairs.",
        ),
        pictures=True,
    )
