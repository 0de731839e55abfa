"""Restore photographs of your own with a trained run.

  jgr restore runs/denoiser photo.png --out=restored
  jgr restore runs/denoiser photos/ more/scan.tif --out=restored --ensemble
  jgr restore runs/ffdnet noisy/ --out=restored --sigma=25/255
  jgr restore runs/inpainting old.png --out=restored --mask=scratches.png
  jgr restore runs/superresolution huge.tif --out=restored --tile=256 --overlap=16

Read are PNG, TIFF, WebP, BMP and JPEG: gray, colour, with alpha, with palettes; 16-bit and float32 pixels stay so.
Results have the format and name of the file, except that those of JPEG files are PNG. They are upright and keep the
colour profile, but no other metadata. The photographs themselves are never overwritten. A file that cannot be read is
named, the others are restored, and the exit status is 1.
"""

import argparse
import logging

from jgr.cli.options import STEP_HELP, add_run
from jgr.cli.setup import set_up
from jgr.errors import ConfigError, RunError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="image files, or folders, with the folders inside them"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for the results, such as --out=restored; made when missing"
    )
    parser.add_argument("--step", default="latest", help=f"{STEP_HELP} (default: %(default)s)")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="decides what is random (default: %(default)s)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results that are there already; never the photographs"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    told = parser.add_argument_group("what the network is told, where it must be")
    told.add_argument("--sigma", metavar="S", help="standard deviation of the noise, in [0, 1]: --sigma=25/255")
    told.add_argument(
        "--mask", metavar="FILE", help="image of the photograph's size; white: known, black: to be filled in"
    )
    told.add_argument(
        "--kernel",
        metavar="FILE",
        help="the blur: .npy or .mat, or .txt with one row a line, of sum 1; or an image, which is divided by its sum",
    )
    told.add_argument("--quality", type=int, metavar="Q", help="of the JPEG file, from 1 to 100: --quality=10")
    told.add_argument("--text", metavar="SENTENCE", help='what the photographs show: --text="a thin red seven"')
    told.add_argument("--shots", nargs="+", default=(), metavar="FILE", help="further shots of the scene, of one size")
    way = parser.add_argument_group("way")
    way.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="restore in tiles of N pixels a side, such as --tile=256 where memory is short; 0: the whole image at "
        "once (default: 512 above 1.5 megapixels, else 0)",
    )
    way.add_argument("--overlap", type=int, metavar="N", help="pixels that tiles share and blend (default: 64)")
    way.add_argument(
        "--ensemble", action="store_true", help="mean over 8 flips and turns: a little better, 8 times as long"
    )
    way.add_argument(
        "--luma",
        action="store_true",
        help="with a network for gray images: restore the luma of colour photographs and keep their chroma, as is "
        "usual for super-resolution (default: red, green and blue one by one)",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    set_up()
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it cannot read it raises as well
    from jgr.jobs.restore import restore

    restored = restore(
        options.run,
        options.inputs,
        options.out,
        step=options.step,
        weights=options.weights,
        tile=options.tile,
        overlap=options.overlap,
        ensemble=options.ensemble,
        luma=options.luma,
        sigma=None if options.sigma is None else _parse_sigma(options.sigma),
        mask=options.mask,
        kernel=options.kernel,
        quality=options.quality,
        text=options.text,
        shots=options.shots,
        seed=options.seed,
        trust=options.trust,
        overwrite=options.overwrite,
        quiet=options.quiet,
    )
    if not options.quiet:
        print(restored)
    if restored.failures:
        total = len(restored.failures) + len(restored.files)
        raise RunError(f"{len(restored.failures)} of {total} images were not restored; the reasons are above")
    return 0


def _parse_sigma(text: str) -> float:
    """A number, or a fraction as 25/255."""
    try:
        numerator, _, denominator = text.partition("/")
        return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"--sigma={text} must be a number in [0, 1], such as 25/255 or 0.098") from error
