"""Metrics of distributions beside SciPy, pytorch-fid, torch-fidelity, torchmetrics and prdc, on the same features."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from metric_fidelity_definitions import frechet_by_matrix_root, mean_and_covariance
from metric_fidelity_inputs import LOGITS, Inputs, random_logits
from metric_fidelity_rows import Row

import jgr.metrics
from jgr.metrics import kernel

_SUBSETS = 20  # of KID


def features_by_the_definition(inputs: Inputs) -> Iterator[Row]:
    """Fréchet distance by pytorch-fid's formula."""
    for case, pairs in (("frechet", inputs.features), ("frechet-singular", inputs.few_features)):
        for name, (real, fake) in pairs.items():
            statistics = [statistic for x in (real, fake) for statistic in mean_and_covariance(x)]
            yield Row(
                f"{case}/scipy",
                "Fréchet distance, pytorch-fid's formula",
                name,
                jgr.metrics.frechet_distance(moments_of(real), moments_of(fake)),
                frechet_by_matrix_root(*statistics),
                1e-9,
                relative=True,
            )


def features_by_pytorch_fid(inputs: Inputs) -> Iterator[Row]:
    """Fréchet distance."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    for case, pairs in (("frechet", inputs.features), ("frechet-singular", inputs.few_features)):
        for name, (real, fake) in pairs.items():
            statistics = [statistic for x in (real, fake) for statistic in mean_and_covariance(x)]
            try:
                distance = calculate_frechet_distance(*statistics)
            except TypeError:  # SciPy 1.18 has no `disp`, which they pass: their formula is in the function above
                continue
            yield Row(
                f"{case}/pytorch-fid",
                "Fréchet distance",
                name,
                jgr.metrics.frechet_distance(moments_of(real), moments_of(fake)),
                distance,
                1e-9,
                relative=True,
            )


def features_by_torch_fidelity(inputs: Inputs) -> Iterator[Row]:
    """Fréchet distance, KID, precision, recall and IS."""
    import torch
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    for name, (real, fake) in inputs.features.items():
        common: dict[str, Any] = dict(inputs=name, relative=True)
        frechet = jgr.metrics.frechet_distance(moments_of(real), moments_of(fake))
        doubles = real.astype(np.float64), fake.astype(np.float64)
        for case, metric, pair in (
            ("frechet/torch-fidelity", "Fréchet distance", doubles),
            ("frechet-default/torch-fidelity", "Fréchet distance of float32 features", (real, fake)),
        ):
            yield Row(
                case=case, metric=metric, ours=frechet, theirs=torch_fidelity_distance(*pair), bound=1e-7, **common
            )
        size = min(500, len(fake) // 2)
        for case, metric, dtype in (
            ("kid/torch-fidelity", "KID, mean and deviation", np.float64),
            ("kid-float32/torch-fidelity", "KID of float32 features", np.float32),
        ):
            theirs_kid = kid_features_to_metric(
                *(torch.from_numpy(x.astype(dtype)) for x in (fake, real)),
                kid_subsets=_SUBSETS,
                kid_subset_size=size,
                verbose=False,
            )
            yield Row(
                case=case,
                metric=f"{metric}, {_SUBSETS} x {size}",
                ours=jgr.metrics.kernel_distance_subsets(fake, real, num_subsets=_SUBSETS, subset_size=size),
                theirs=list(theirs_kid.values()),
                bound=1e-9,
                **common,
            )
        for dtype in (np.float64, np.float32):
            theirs_prc = prc_features_to_metric(
                *(torch.from_numpy(x.astype(dtype)) for x in (fake, real)), verbose=False
            )
            yield Row(
                "neighbours/torch-fidelity",
                f"precision and recall, k=3, {np.dtype(dtype).name}",
                name,
                jgr.metrics.precision_recall(real, fake, k=3),
                [theirs_prc["precision"], theirs_prc["recall"]],
                1e-7,
            )
    for name, (real, fake) in inputs.few_features.items():
        yield Row(
            "frechet-singular/torch-fidelity",
            "Fréchet distance",
            name,
            jgr.metrics.frechet_distance(moments_of(real), moments_of(fake)),
            torch_fidelity_distance(real, fake),
            1e-9,
            relative=True,
        )
    logits = random_logits()
    yield Row(
        "is/torch-fidelity",
        "IS, mean and deviation, 10 splits",
        LOGITS,
        jgr.metrics.inception_score(logits, shuffle_seed=2020),
        list(isc_features_to_metric(torch.from_numpy(logits)).values()),
        1e-12,
        relative=True,
    )


def features_by_torchmetrics(inputs: Inputs) -> Iterator[Row]:
    """Fréchet distance, KID and IS."""
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    class Identity(torch.nn.Module):
        """Takes features for images."""

        def __init__(self, num_features: int) -> None:
            super().__init__()
            self.num_features = num_features

        def forward(self, features: Any) -> Any:
            return features

    def computed(metric: Any, real: np.ndarray, fake: np.ndarray) -> Any:
        metric.update(torch.from_numpy(real), real=True)
        metric.update(torch.from_numpy(fake), real=False)
        torch.manual_seed(0)
        return metric.compute()

    for case, pairs in (("frechet", inputs.features), ("frechet-singular", inputs.few_features)):
        for name, (real, fake) in pairs.items():
            doubles = real.astype(np.float64), fake.astype(np.float64)
            metric = FrechetInceptionDistance(Identity(real.shape[1])).set_dtype(torch.float64)
            yield Row(
                f"{case}/torchmetrics",
                "Fréchet distance",
                name,
                jgr.metrics.frechet_distance(moments_of(real), moments_of(fake)),
                computed(metric, *doubles),
                1e-9,
                relative=True,
            )
    for name, (real, fake) in inputs.features.items():
        n = min(len(real), len(fake))
        x, y = real[:n].astype(np.float64), fake[:n].astype(np.float64)
        identity = Identity(real.shape[1])
        yield Row(
            "kid-full/torchmetrics",
            "KID, one subset of all",
            name,
            jgr.metrics.kernel_distance(x, y),
            computed(KernelInceptionDistance(identity, subsets=1, subset_size=n), x, y)[0],
            1e-9,
            relative=True,
        )
        size = min(500, n // 2)
        theirs = computed(KernelInceptionDistance(identity, subsets=_SUBSETS, subset_size=size), x, y)
        torch.manual_seed(0)
        values = [
            kernel.kernel_distance(x[torch.randperm(n)[:size].numpy()], y[torch.randperm(n)[:size].numpy()])
            for _ in range(_SUBSETS)
        ]
        yield Row(
            "kid-subsets/torchmetrics",
            f"KID, mean and deviation, {_SUBSETS} x {size}",
            name,
            jgr.metrics.kernel_distance_subsets(x, y, num_subsets=_SUBSETS, subset_size=size),
            [float(value) for value in theirs],
            1e-9,
            adjusted=[np.mean(values), np.std(values)],
            relative=True,
        )
    logits = random_logits()
    for case, splits in (("is-whole", 1), ("is-splits", 10)):
        metric = InceptionScore(torch.nn.Identity(), splits=splits)
        metric.update(torch.from_numpy(logits))
        torch.manual_seed(0)
        mean, deviation = (float(value) for value in metric.compute())
        torch.manual_seed(0)
        chunks = torch.from_numpy(logits)[torch.randperm(len(logits))].chunk(splits)
        scores = [jgr.metrics.inception_score(chunk.numpy(), num_splits=1)[0] for chunk in chunks]
        whole = splits == 1  # which has no deviation
        ours = jgr.metrics.inception_score(logits, num_splits=splits)
        yield Row(
            f"{case}/torchmetrics",
            "IS, 1 split" if whole else f"IS, mean and deviation, {splits} splits",
            LOGITS,
            ours[:1] if whole else ours,
            [mean] if whole else [mean, deviation],
            1e-12,
            adjusted=scores if whole else [np.mean(scores), np.std(scores, ddof=1)],
            relative=True,
        )


def features_by_prdc(inputs: Inputs) -> Iterator[Row]:
    """Precision, recall, density and coverage with open balls."""
    from prdc import compute_prdc

    what = "precision, recall, density, coverage"
    for name, (real, fake) in (inputs.features | inputs.repeated_features).items():
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = list(compute_prdc(real.astype(np.float64), fake.astype(np.float64), nearest_k=5).values())
        strict = _neighbours(real, fake, 5, 5, strict=True)
        for case, metric, ours in (
            ("neighbours/prdc", f"{what}, k=5, strict", strict),
            ("neighbours-ties/prdc", f"{what}, k=5, ours not strict", _neighbours(real, fake, 5, 5, strict=False)),
            ("neighbours-default/prdc", f"{what}, defaults of both", _neighbours(real, fake, 3, 5, strict=False)),
        ):
            yield Row(case, metric, name, ours, theirs, 1e-12, adjusted=strict)


def torch_fidelity_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Fréchet distance by torch-fidelity."""
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (real, fake)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])


def moments_of(features: np.ndarray) -> jgr.metrics.Moments:
    """The moments that jgr computes distances of."""
    moments = jgr.metrics.Moments()
    moments.update(features)
    return moments


def _neighbours(real: np.ndarray, fake: np.ndarray, near: int, k: int, strict: bool) -> list[float]:
    """Precision and recall with the first k, density and coverage with the second."""
    return [
        *jgr.metrics.precision_recall(real, fake, near, strict),
        *jgr.metrics.density_coverage(real, fake, k, strict),
    ]
