"""A scatter plot of points in a plane, as an image."""

import math

import numpy as np
from jaxtyping import Float, Int, UInt8

_LEAST = 3.0  # from the origin to the frame: N(0, 1) is beyond in 1 of 400 cases
_DPI = 100
_LEFT, _RIGHT, _BELOW, _ABOVE = 35, 45, 25, 8  # of the frame, in pixels; at the right is the legend


def scatter(
    points: Float[np.ndarray, "num 2"], labels: Int[np.ndarray, "num"] | None, side: int
) -> UInt8[np.ndarray, "side width 3"]:
    """Points coloured by label, or all gray; the first coordinate grows to the right, the second upwards.

    The frame goes from -3 to 3, or as far as there are points. A legend at the right names the labels' colours.

    Args:
        points: Finite.
        labels: From 0.
        side: Rows of the image.
    """
    # Here: it takes a second to import, and only this picture needs it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frame = side - _BELOW - _ABOVE
    width = _LEFT + frame + _RIGHT
    figure = Figure(figsize=(width / _DPI, side / _DPI), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((_LEFT / width, _BELOW / side, frame / width, frame / side))
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], s=6, color="0.35")
    for label in [] if labels is None else np.unique(labels):
        of_label = points[labels == label]
        axes.scatter(of_label[:, 0], of_label[:, 1], s=6, label=str(label), color=_color(int(label)))
    reach = max(_LEAST, math.ceil(float(np.abs(points).max(initial=0.0))))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
    if labels is not None:
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.0, 1.02), frameon=False, borderpad=0, handletextpad=0, fontsize=8
        )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _color(label: int) -> str:
    return f"C{label % 10}"
