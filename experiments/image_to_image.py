"""pix2pix and CycleGAN on BSDS500's photographs, trained for minutes on two CPU cores.

JGR_DATA=/data jgr experiment experiments/image_to_image.py
python experiments/draw_curves.py results/image_to_image --apart
"""

from jgr.jobs.study import Arm, Study

EDGES = "configs/image_to_image/pix2pix_edges_bsds500.py"
NOISE = {
    "evaluation.degradation.cls": "jgr.degradations.protocols.GaussianDenoising",
    "evaluation.degradation.sigma": 50 / 255,
}
DENOISING = NOISE | {
    "task.degradation": {"cls": "jgr.degradations.noise.GaussianNoise", "sigma": 50 / 255},
}
TEST = {"source.path": "$JGR_DATA/color/bsds500_test", "source.color": "rgb", "resize": 96, "crop": 64}
NOISY = NOISE | {f"{data}.{key}": value for data in ("data", "evaluation.data") for key, value in TEST.items()}
NOISY |= {f"evaluation.metrics.{metric}.color": "rgb" for metric in ("psnr", "ssim")}


def get_study() -> Study:
    """The study."""
    return Study(
        title="Image to image, trained for minutes on two CPU cores",
        arms=(
            Arm(name="pix2pix-noisy", config=EDGES, overrides=DENOISING),
            Arm(name="noisy", config="configs/restoration/classical.py:noisy", overrides=NOISY),
            Arm(name="pix2pix-edges", config=EDGES),
            Arm(name="cyclegan-tint", config="configs/image_to_image/cyclegan_bsds500.py"),
            Arm(name="tinted", config="configs/restoration/classical.py:tinted"),
        ),
        notes=(
            "pix2pix-noisy is pix2pix that takes Gaussian noise of sigma 50 / 255 away; noisy is what it is given.",
            "pix2pix-edges draws photographs of 64x64 pixels from their edges. Its PSNR says little, since edges tell "
            "no colours: one colour for all, the training photographs' mean, has 13.2 dB. It is far from trained.",
            "CycleGAN undoes a tint without ever seeing a pair: its two sets are of different photographs. Only the "
            "test images are pairs.",
        ),
        pictures=True,
    )
