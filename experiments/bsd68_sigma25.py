"""Gray denoising at sigma 25 on BSD68: a small network trained in an hour of CPU, beside classical and released ones.

JGR_DATA=/where/the/data/is jgr experiment experiments/bsd68_sigma25.py
python experiments/draw_curves.py results/bsd68_sigma25 --metrics=validation/psnr
"""

from jgr.jobs.study import Arm, Published, Study

CLASSICAL = "configs/restoration/classical.py"
SWINIR = "SwinIR (Liang et al. 2021), table of gray denoising"


def get_study() -> Study:
    """The study."""
    return Study(
        title="Gray Gaussian denoising, sigma 25, BSD68",
        arms=(
            Arm(name="edsr-half-resolution", config="configs/restoration/edsr_train400.py", step="best"),
            Arm(name="dncnn-s-released", config="configs/restoration/dncnn_train400.py:released"),
            Arm(name="bm3d", config=f"{CLASSICAL}:bm3d"),
            Arm(name="nlm", config=f"{CLASSICAL}:nlm"),
            Arm(name="tv", config=f"{CLASSICAL}:tv"),
            Arm(name="wavelet", config=f"{CLASSICAL}:wavelet"),
            Arm(name="noisy", config=f"{CLASSICAL}:noisy"),
        ),
        published=tuple(
            Published(name=name, metric="psnr", value=value, source=source, note=note, arm=arm)
            for name, arm, value, source, note in (
                ("BM3D", "bm3d", 28.57, SWINIR, "MATLAB's noise"),
                ("DnCNN-S", "dncnn-s-released", 29.23, "Zhang et al. 2017, table II", "MATLAB's noise, other weights"),
                ("DnCNN-S", "dncnn-s-released", 29.21, "github.com/SaoYan/DnCNN-PyTorch", "unseeded noise"),
                ("SwinIR", None, 29.50, SWINIR, "MATLAB's noise"),
            )
        ),
        notes=("The checkpoint of edsr-half-resolution was chosen on 20 images held out of Train400.",),
    )
