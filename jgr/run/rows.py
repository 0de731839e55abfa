"""Rows of results: one number, and everything that says what it measures."""

import math
import operator
from typing import Any, Literal, SupportsFloat, SupportsIndex

SCHEMA = 2
KEY = (
    "run",
    "config_hash",
    "seed",
    "eval_seed",
    "step",
    "weights",
    "select",
    "dataset",
    "metric",
    "protocol",
    "n",
)
"""What identifies a measurement: of two rows that agree in these, the later one counts."""


def result_row(
    *,
    run: str,
    config: str,
    config_hash: str,
    seed: SupportsIndex,
    eval_seed: SupportsIndex,
    step: SupportsIndex,
    images_seen: SupportsIndex,
    weights: Literal["ema", "raw"],
    select: Literal["last", "best"],
    dataset: str,
    metric: str,
    protocol: str,
    value: SupportsFloat,
    std: SupportsFloat | None,
    n: SupportsIndex,
    better: Literal["higher", "lower"],
    commit: str | None,
    device: str,
    time_s: SupportsFloat,
) -> dict[str, Any]:
    """One row of `results.jsonl`. A field too many or too few is a TypeError.

    Args:
        run: The run's id.
        config: The config's path in its repository.
        config_hash: Hash of the resolved config.
        seed: The training's seed.
        eval_seed: The evaluation's seed.
        step: Training steps behind the weights.
        images_seen: Training images behind the weights.
        weights: "ema" or "raw".
        select: How the checkpoint was chosen: "last", or "best" on a validation split.
        dataset: `name-split@hash` of what it was measured on.
        metric: The metric's name, such as "fd_pixels".
        protocol: Id of how it was measured; values of two protocols are not comparable.
        value: The measurement. Infinities and NaN become null, with `status` "inf", "-inf" or "nan", else "ok".
        std: Its spread over splits or images as the protocol defines it; None where it defines none.
        n: Images or samples it was measured on.
        better: Which values are better.
        commit: Commit of the code; None outside a repository.
        device: Kind of the device.
        time_s: Seconds it took to score all metrics of this seed.

    Raises:
        ValueError: `weights`, `select` or `better` is none of its values.
    """
    if weights not in ("ema", "raw"):
        raise ValueError(f"weights={weights!r} must be 'ema' or 'raw'")
    if select not in ("last", "best"):
        raise ValueError(f"select={select!r} must be 'last' or 'best'")
    if better not in ("higher", "lower"):
        raise ValueError(f"better={better!r} must be 'higher' or 'lower'")
    number = float(value)
    spread = None if std is None else float(std)
    return {
        "schema": SCHEMA,
        "run": run,
        "config": config,
        "config_hash": config_hash,
        "seed": operator.index(seed),
        "eval_seed": operator.index(eval_seed),
        "step": operator.index(step),
        "images_seen": operator.index(images_seen),
        "weights": weights,
        "select": select,
        "dataset": dataset,
        "metric": metric,
        "protocol": protocol,
        "value": number if math.isfinite(number) else None,
        "std": spread if spread is not None and math.isfinite(spread) else None,
        "n": operator.index(n),
        "status": status(number),
        "better": better,
        "commit": commit,
        "device": device,
        "time_s": float(time_s),
    }


def status(number: float) -> str:
    """How a number is named where JSON cannot hold it: "inf", "-inf" or "nan"; "ok" when it is finite."""
    return "ok" if math.isfinite(number) else str(number)


def value(row: dict[str, Any]) -> float:
    """The measurement of a row, infinities and NaN included."""
    return float(row["status"] if row["value"] is None else row["value"])


def newest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without those that a later one of the same `KEY` replaces, in the order they were written."""
    by_key: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[field] for field in KEY)
        by_key.pop(key, None)
        by_key[key] = row
    return list(by_key.values())
