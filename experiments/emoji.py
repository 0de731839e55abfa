r"""Emoji drawn by their names: 1,200 that were learned, and 205 that were not.

JGR_DATA=/data jgr experiment experiments/emoji.py
JGR_DATA=/data jgr sample runs/emoji/known-s0 --num=6 --out=results/emoji/sentences.png \
  --text "red apple" "grinning face with smiling eyes" "full moon symbol" "green heart" "blue heart" "grinning cat" \
  "blue apple" "sad robot"
"""

from jgr.jobs.study import Arm, Study

CONFIG = "configs/text/text_vae_emoji.py"


def get_study() -> Study:
    """The study."""
    return Study(
        title="Emoji drawn by their names, trained for minutes on two CPU cores",
        arms=(
            Arm(name="known", config=f"{CONFIG}:known"),
            Arm(
                name="unknown",
                config=CONFIG,
                overrides={"train.num_steps": 0, "train.init_from.path": "runs/emoji/known-s0"},
            ),
        ),
        notes=(
            "retrieval: the share of samples whose nearest real emoji, or one of the ten nearest, has the name asked "
            "for. swapped: by the name of the next, which is what luck reaches.",
            "known: names that were learned, among 1,200. unknown: names that were not, among 205; the same weights.",
            "1,405 pairs, hardly a name twice, allow to remember what was learned, and little beyond: of an unlearned "
            "name its words, learned elsewhere, bring a colour or an outline along, and most images are a blur. A "
            "fifth have their own emoji among the ten nearest of 205, where luck has one in twenty.",
        ),
        pictures=True,
    )
