"""Short trainings of every network and every kind of restoration on real photographs, each beside classical methods.

JGR_DATA=/where/the/data/is jgr experiment experiments/restoration.py
"""

from jgr.jobs.study import Arm, Study

SRRESNET = {
    "task.network.cls": "jgr.models.edsr.SRResNet",
    "task.network.scale": 2,
    "task.network.width": 32,
    "task.network.blocks": 4,
    "train.num_steps": 600,
    "train.checkpoint_every": 150,
}
BRIEF = {"train.num_steps": 600, "train.batch_size": 16, "train.checkpoint_every": 150, "train.sample_every": 300}
TRAINED = (
    Arm(name="edsr-x2", config="configs/restoration/edsr_x2_bsds500.py", step="best"),
    Arm(name="srresnet-x2", config="configs/restoration/edsr_x2_bsds500.py", overrides=SRRESNET, step="best"),
    Arm(name="edsr-jpeg", config="configs/restoration/edsr_jpeg_train400.py", step="best"),
    Arm(name="unet-inpainting", config="configs/restoration/unet_inpainting_train400.py", step="best"),
    Arm(name="nafnet-deblurring", config="configs/restoration/nafnet_deblurring_bsds500.py", step="best"),
    Arm(name="nafnet-low-light", config="configs/restoration/nafnet_low_light_bsds500.py", step="best"),
    Arm(name="edsr-blind", config="configs/restoration/edsr_blind_train400.py", step="best"),
    Arm(name="ffdnet", config="configs/restoration/ffdnet_train400.py", step="best"),
    Arm(name="dncnn-brief", config="configs/restoration/dncnn_train400.py", overrides=BRIEF),
    Arm(name="prenet", config="configs/restoration/prenet_train400.py", step="best"),
    Arm(name="restormer", config="configs/restoration/restormer_train400.py", step="best"),
    Arm(name="encoder-decoder", config="configs/restoration/encoder_decoder_train400.py", step="best"),
)
CLASSICAL = (
    *("bicubic-x2", "jpeg-q10", "masked", "biharmonic", "blurred", "wiener", "richardson-lucy", "dark"),
    *("noisy", "nlm", "bm3d"),
)


def get_study() -> Study:
    """The study."""
    classical = [Arm(name=name, config=f"configs/restoration/classical.py:{name}") for name in CLASSICAL]
    return Study(
        title="Restoration, trained for minutes on two CPU cores",
        arms=(*TRAINED, *classical),
        notes=(
            "Every network was trained for 4 to 21 minutes, on cores that did other work as well, with a learning rate "
            "that falls to nearly 0 in that time.",
            "The checkpoint is the best on images held out of the training set; dncnn-brief's is its last.",
            "srresnet-x2, ffdnet, dncnn-brief and restormer had 600 steps, which show that they learn and no more: "
            "srresnet-x2 is still below bicubic, ffdnet and restormer are below nlm. Released weights of DnCNN are in "
            "results/bsd68_sigma25.",
            "encoder-decoder sees patches of 32x32 pixels through 256 numbers, and trails for that reason.",
        ),
    )
