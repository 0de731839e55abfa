"""Draw what a run's generator makes, or its encoder and decoder: a grid of images, or one of the pictures below.

jgr sample runs/digits --num=64 --out=grid.png --seed=1
jgr sample runs/cgan --classes --out=classes.png
jgr sample runs/stylegan2 --interpolate --truncation=0.7 --out=ways.png
jgr sample runs/stylegan2 --mix --mix_layer=4 --out=mixtures.png
jgr sample runs/digits --nearest=5 --nearest_in=cnn-digits --out=neighbours.png
jgr sample runs/digits --invert face.png other.png --out=inversions.png
jgr sample runs/digits --invert face.png --mask=scratches.png --out=filled.png
jgr sample runs/vae --reconstruct --out=reconstructions.png
jgr sample runs/vae --traverse --record=7 --out=latents.png
jgr sample runs/vae --latent_map --out=map.png
jgr sample runs/vae --blend 3 14 15 --shares=0.5,0.3,0.2 --out=blend.png
jgr sample runs/vae --transfer thin thick --out=thicker.png
jgr sample runs/text_gan --text "a thick green seven leaning left" "a thin 4" --out=sentences.png
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from jgr.cli.options import STEP_HELP, add_run
from jgr.cli.setup import set_up
from jgr.errors import ConfigError

if TYPE_CHECKING:
    from jgr.jobs.explore.pictures import Use

_DEPENDENT = {
    "mix_layer": "mix",
    "nearest_in": "nearest",
    "invert_steps": "invert",
    "restarts": "invert",
    "mask": "invert",
    "prior_weight": "invert",
    "record": "traverse",
    "shares": "blend",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    parser.add_argument("--out", required=True, metavar="FILE.png", help="where the picture goes")
    parser.add_argument(
        "--num",
        type=int,
        metavar="N",
        help="images of the grid (default: 64), or of each class (10), rows of an interpolation (8), sources on either "
        "side of a mixture (6), images that neighbours are searched of (8), records to reconstruct (8), latents of a "
        "traversal (10), records of a map's plot (2000), records that are transferred (8)",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides the latents (default: %(default)s)")
    parser.add_argument("--step", default="latest", help=f"{STEP_HELP} (default: %(default)s)")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="default: %(default)s")
    parser.add_argument(
        "--classes",
        nargs="?",
        const="all",
        metavar="LABELS",
        help="of a conditional run: all, or as in --classes=3,7. A grid gets a row for each and a column for each "
        "latent; in other pictures rows, sources and images take them in turn",
    )
    parser.add_argument(
        "--truncation",
        type=float,
        metavar="PSI",
        help="less variety, fewer failures, such as 0.7. Style-based generators: styles are pulled to their mean, so "
        "0 gives the mean alone and 1 changes nothing. Others: values of a latent beyond PSI are drawn again",
    )
    parser.add_argument(
        "--guidance",
        type=float,
        metavar="G",
        help="of a VAE that is told captions and was trained without some: how strictly it keeps to them, such as 2; 1 "
        "changes nothing",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but the picture's path and errors")
    pictures = parser.add_argument_group("pictures, instead of a grid")
    choice = pictures.add_mutually_exclusive_group()
    choice.add_argument(
        "--interpolate",
        type=int,
        nargs="?",
        const=8,
        metavar="STEPS",
        help="rows of so many images (default: 8) from one latent to another: along the sphere, or, with styles, "
        "straight from style to style",
    )
    choice.add_argument(
        "--mix",
        action="store_true",
        help="images with the coarse styles of the image at the left and the fine styles of the one above",
    )
    choice.add_argument(
        "--nearest",
        type=int,
        nargs="?",
        const=5,
        metavar="K",
        help="images beside their so many nearest training images (default: 5): are they copies?",
    )
    choice.add_argument(
        "--invert",
        nargs="+",
        metavar="PHOTO",
        help="image files | what the generator can make of them | four times the error, with PSNR; searched by Adam "
        "among the latents, or the styles of all layers",
    )
    choice.add_argument(
        "--reconstruct",
        action="store_true",
        help="records of the run's evaluation | what is left of them after encoding and decoding",
    )
    choice.add_argument(
        "--traverse",
        type=int,
        nargs="?",
        const=11,
        metavar="STEPS",
        help="rows of so many images (default: 11) along one latent each, from -3 to 3, after the image of a record: "
        "the latents whose posterior means vary the most",
    )
    choice.add_argument(
        "--latent_map",
        type=int,
        nargs="?",
        const=20,
        metavar="SIDE",
        help="of a decoder with two latents: so many rows and columns (default: 20) of images at the quantiles of "
        "N(0, 1), beside a plot of the posterior means of records, coloured by label",
    )
    choice.add_argument(
        "--blend",
        nargs="+",
        metavar="IMAGE",
        help="of an autoencoder: image files, or numbers of records, and what lies between their latents: two at the "
        "ends of a row, or halves of each two of more, or the one blend that --shares names",
    )
    choice.add_argument(
        "--transfer",
        nargs=2,
        metavar=("FROM", "TO"),
        help="of an autoencoder: records of one label, or with one word in their caption, on their way to another, "
        "such as thin thick, or 3 8",
    )
    choice.add_argument(
        "--text",
        nargs="+",
        metavar="SENTENCE",
        help="of a text-conditional run: a row of images (--num, default: 8) by each sentence, with the same latents "
        "(default: sentences of its evaluation)",
    )
    pictures.add_argument(
        "--mix_layer", type=int, metavar="L", help="the first layer with a fine style, from 1 (default: half of them)"
    )
    pictures.add_argument(
        "--nearest_in",
        metavar="NAME",
        help="what is compared: pixels (default), or features of an extractor of the run's evaluation, such as "
        "cnn-mnist or inception",
    )
    pictures.add_argument("--invert_steps", type=int, metavar="N", help="steps of the search (default: 500)")
    pictures.add_argument(
        "--restarts", type=int, metavar="N", help="starting points of the search, for each class (default: 4)"
    )
    pictures.add_argument(
        "--mask",
        metavar="FILE",
        help="image of the size of the generator's images; white: known, black: to be filled in. --invert then draws "
        "masked | found | found in the mask only | truth",
    )
    pictures.add_argument(
        "--prior_weight",
        type=float,
        metavar="W",
        help="of |z|^2/2 beside the negative log-likelihood, in the search of a run that has one: 1 (default) finds "
        "the most probable latents, 0 those of the most similar image",
    )
    pictures.add_argument(
        "--shares", metavar="S,S,…", help="how much of each image is in the blend: --shares=0.5,0.3,0.2"
    )
    pictures.add_argument(
        "--record",
        metavar="I",
        help="the record that a traversal starts from (default: 0), or 'prior' for the mean of N(0, 1)",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    for name, needed in _DEPENDENT.items():
        if getattr(options, name) is not None and getattr(options, needed) in (None, False):
            raise ConfigError(f"--{name}={getattr(options, name)} goes with --{needed}: add that, or leave it out")
    classes = _parse_classes(options.classes)
    set_up()
    from jgr.jobs.sample import sample

    picture = sample(
        options.run,
        options.out,
        use=_use(options),
        num=options.num,
        classes=classes,
        texts=options.text,
        truncation=options.truncation,
        guidance=options.guidance,
        seed=options.seed,
        step=options.step,
        weights=options.weights,
        trust=options.trust,
        quiet=options.quiet,
    )
    print(picture)
    return 0


def _use(options: argparse.Namespace) -> "Use":
    """The picture that is asked for."""
    from jgr.jobs.explore.pictures import (
        AttributeTransfer,
        Autoencoding,
        Blend,
        Grid,
        Interpolation,
        LatentMap,
        LatentTraversal,
        Mixture,
        NearestNeighbours,
        Reconstruction,
    )

    if options.interpolate is not None:
        return Interpolation(steps=options.interpolate)
    if options.mix:
        return Mixture(layer=options.mix_layer)
    if options.nearest is not None:
        return NearestNeighbours(k=options.nearest, within=options.nearest_in or "pixels")
    if options.invert is not None:
        given = {
            "steps": options.invert_steps,
            "restarts": options.restarts,
            "mask": options.mask,
            "prior_weight": options.prior_weight,
        }
        return Reconstruction(
            photos=tuple(options.invert), **{name: value for name, value in given.items() if value is not None}
        )
    if options.reconstruct:
        return Autoencoding()
    if options.traverse is not None:
        return LatentTraversal(steps=options.traverse, record=_parse_record(options.record))
    if options.latent_map is not None:
        return LatentMap(side=options.latent_map)
    if options.blend is not None:
        shares = None if options.shares is None else _parse_shares(options.shares)
        return Blend(inputs=tuple(map(_number_or_text, options.blend)), shares=shares)
    if options.transfer is not None:
        without, wanted = map(_number_or_text, options.transfer)
        return AttributeTransfer(wanted=wanted, without=without)
    return Grid()


def _number_or_text(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _parse_shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--shares={text} must be numbers such as 0.5,0.3,0.2") from error


def _parse_record(text: str | None) -> int | None:
    if text == "prior":
        return None
    try:
        return int(text or 0)
    except ValueError as error:
        raise ConfigError(f"--record={text} must be the number of a record, or prior") from error


def _parse_classes(text: str | None) -> "Sequence[int] | Literal['all'] | None":
    if text is None:
        return None
    if text == "all":
        return "all"
    try:
        return [int(label) for label in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--classes={text} must be labels such as 3,7, or all") from error
