"""Reports of runs that never were, for the tests of what shows them."""

import numpy as np

from jgr.jobs.report.document import Arm, Measurement, Report, ReportedRun
from jgr.jobs.report.pictures import webp
from jgr.jobs.report.restored import Named, Restored, Test
from jgr.jobs.study import Published
from jgr.jobs.table import Cell, Column, Comparison, Row

PSNR = Column("psnr", "set-test@1", "psnr_u8/awgn-s25", 3)
MAE = Column("mae", "set-test@1", "mae_u8/awgn-s25", 3)
TEST = Test("set-test@1", "awgn-s25")


def flat(level, side=16):
    """A picture of one gray."""
    return webp(np.full((side, side, 1), level, np.uint8))


def halves(left, right, side=16):
    """A picture whose left and right half are of one gray each."""
    image = np.full((side, side, 1), left, np.uint8)
    image[:, side // 2 :] = right
    return webp(image)


def cell(mean, **fields):
    return Cell(mean, None, 1, (100,), ("ema",), **fields)


def run(name, *, slope=1.0, steps=5, **fields):
    """A run whose loss grows by `slope` from 1 in a logged step, and whose validation is logged in every second."""
    logged = [{"step": 10 * i, "images_seen": 80 * i, "loss": 1 + slope * i} for i in range(1, steps + 1)]
    for row in logged[1::2]:
        row["validation/psnr"] = 20.0 + row["step"]
    return ReportedRun(
        name, {"commit": f"c-{name}", "python": "3.11"}, [Measurement("psnr", "1", f"do {name}")], logged, **fields
    )


def report(arms, cells, **fields):
    """A report of one table.

    Args:
        arms: The arms.
        cells: By arm's name its values by column.
        fields: Of the report.
    """
    rows = tuple(Row(arm.name, tuple(run.name for run in arm.runs), (0,), {}, cells[arm.name]) for arm in arms)
    table = Comparison(
        rows, (PSNR, MAE), (), ("A note.",), {PSNR: "one leads"}, better={"psnr": "higher", "mae": "lower"}
    )
    return Report(comparison=table, arms=arms, **{"title": "Made"} | fields)


def small():
    """Three arms; two restore, one has two seeds, one has no PSNR."""

    def pictures(level):
        return {
            "restored": {TEST: [Restored(flat(60), flat(level), flat(120))]},
            "records": {TEST: [Named("bird.png", {"psnr": 22.5})]},
        }

    arms = [
        Arm("beta", {"width": 64, "depth": 2}, True, [run("beta-s0", grid=halves(0, 255), **pictures(100))]),
        Arm(
            "alpha", {"width": 32, "depth": 2}, True, [run("alpha-s0", grid=halves(0, 255)), run("alpha-s1", slope=3.0)]
        ),
        Arm("gamma", {"width": 32, "depth": 2, "extra": None}, True, [run("gamma-s0", **pictures(110))]),
    ]
    cells = {
        "beta": {PSNR: cell(9.5, low=9.0, high=10.0), MAE: cell(0.25)},
        "alpha": {PSNR: cell(10.25, best=True), MAE: cell(0.5)},
        "gamma": {MAE: cell(float("inf"))},
    }
    published = (Published(name="Nobody's", metric="psnr", value=30.0, source="A paper", note="other noise"),)
    return report(arms, cells, published=published)


def apart(metrics):
    """Two arms, each scored by so many metrics on a data set of its own."""
    columns = {
        name: [Column(f"metric{i}", f"{name}-test@1", f"metric{i}_u8", 3) for i in range(metrics)]
        for name in ("near", "far")
    }
    arms = [Arm(name, {}, True, [run(f"{name}-s0")]) for name in columns]
    rows = tuple(
        Row(name, (f"{name}-s0",), (0,), {}, {column: cell(float(i)) for i, column in enumerate(own)})
        for name, own in columns.items()
    )
    table = Comparison(rows, tuple(column for own in columns.values() for column in own), (), (), {})
    return Report(comparison=table, arms=arms, title="Apart")


def many(count, seeds=1):
    """A report of many arms with long curves and pictures."""
    arms = [
        Arm(
            f"arm-{i}",
            {f"key{k}": i if k < 8 else k for k in range(60)},
            True,
            [run(f"arm-{i}-s{s}", steps=400, grid=flat(i % 256, 64)) for s in range(seeds)],
        )
        for i in range(count)
    ]
    return report(arms, {arm.name: {PSNR: cell(float(i % 17)), MAE: cell(i / 7)} for i, arm in enumerate(arms)})
