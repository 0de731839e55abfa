"""Short trainings of every kind of restoration on real photographs, each beside classical methods.

JGR_DATA=/where/the/data/is jgr experiment experiments/restoration.py
"""

from jgr.jobs.study import Arm, Study

TRAINED = {
    "edsr-x2": "edsr_x2_bsds500.py",
    "edsr-jpeg": "edsr_jpeg_train400.py",
    "unet-inpainting": "unet_inpainting_train400.py",
    "nafnet-deblurring": "nafnet_deblurring_bsds500.py",
    "nafnet-low-light": "nafnet_low_light_bsds500.py",
    "edsr-blind": "edsr_blind_train400.py",
    "prenet": "prenet_train400.py",
    "encoder-decoder": "encoder_decoder_train400.py",
}
CLASSICAL = (
    *("bicubic-x2", "jpeg-q10", "masked", "biharmonic", "blurred", "wiener", "richardson-lucy", "dark"),
    *("noisy", "nlm", "bm3d"),
)


def get_study() -> Study:
    """The study."""
    trained = [Arm(name=name, config=f"configs/restoration/{file}", step="best") for name, file in TRAINED.items()]
    classical = [Arm(name=name, config=f"configs/restoration/classical.py:{name}") for name in CLASSICAL]
    return Study(title="Restoration, trained for minutes on two CPU cores", arms=(*trained, *classical))
