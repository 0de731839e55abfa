"""Floating-point operations of a traced function, and what devices can do at best."""

import math
from typing import Any

import jax
from jax.extend import core

# Dense peak in FLOP/s by device kind and type, from the makers' data sheets; sparsity not counted. float32 is what
# JAX's default precision makes of it: TF32 on NVIDIA's tensor cores, bfloat16 passes on TPU.
_PEAKS = {
    "NVIDIA H100 80GB HBM3": {"bfloat16": 989e12, "float32": 495e12},  # H100 data sheet, SXM
    "NVIDIA H100 PCIe": {"bfloat16": 756e12, "float32": 378e12},
    "NVIDIA H200": {"bfloat16": 989e12, "float32": 495e12},
    "NVIDIA A100-SXM4-80GB": {"bfloat16": 312e12, "float32": 156e12},  # A100 data sheet
    "NVIDIA A100-SXM4-40GB": {"bfloat16": 312e12, "float32": 156e12},
    "NVIDIA A100-PCIE-40GB": {"bfloat16": 312e12, "float32": 156e12},
    "NVIDIA L4": {"bfloat16": 121e12, "float32": 60e12},
    "TPU v4": {"bfloat16": 275e12, "float32": 275e12},  # Cloud TPU documentation, per chip
    "TPU v5 lite": {"bfloat16": 197e12, "float32": 197e12},
    "TPU v5": {"bfloat16": 459e12, "float32": 459e12},
    "TPU v6 lite": {"bfloat16": 918e12, "float32": 918e12},
}


def peak_flops(device: jax.Device, dtype: str) -> float | None:
    """The peak of one device in FLOP/s by its maker's data sheet; None where none is known, as for CPUs.

    Args:
        device: The device.
        dtype: "float32" or "bfloat16", the type of the computation.
    """
    return _PEAKS.get(device.device_kind, {}).get(dtype)


def count_flops(jaxpr: core.Jaxpr) -> int:
    """Operations of the matrix products and convolutions of a jaxpr; a multiply-add counts as two.

    Additions and activations do not count, as is usual for model FLOPs utilisation (Chowdhery et al. 2022, "PaLM",
    appendix B); but what is computed twice to save memory counts twice, so with `remat` it is the hardware's
    utilisation. Zeros that a convolution inserts between pixels are not counted; zeros at borders are. Of branches the
    largest counts, of a choice by platform the form that is no platform's own, and of `lax.while_loop`, whose length is
    not known, one turn.
    """
    return sum(_equation_flops(equation) for equation in jaxpr.eqns)


def _equation_flops(equation: core.JaxprEqn) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return _dot_flops(equation)
    if name == "conv_general_dilated":
        return _convolution_flops(equation)
    if name == "cond" and params.get("branches_platforms"):
        return count_flops(params["branches"][params["branches_platforms"].index(None)].jaxpr)
    if name == "cond":
        return max(count_flops(branch.jaxpr) for branch in params["branches"])
    turns = params["length"] if name == "scan" else 1
    return turns * sum(count_flops(inner) for inner in core.jaxprs_in_params(params))


def _dot_flops(equation: core.JaxprEqn) -> int:
    left, result = _shape(equation.invars[0]), _shape(equation.outvars[0])
    (contracted, _), _ = equation.params["dimension_numbers"]
    return 2 * math.prod(left[axis] for axis in contracted) * math.prod(result)


def _convolution_flops(equation: core.JaxprEqn) -> int:
    kernel, result = _shape(equation.invars[1]), _shape(equation.outvars[0])
    params = equation.params
    # A kernel's input axis holds the channels of one group, so groups need no further factor.
    taps = math.prod(kernel[axis] for axis in params["dimension_numbers"].rhs_spec[1:])
    return 2 * taps * math.prod(result) // math.prod(params["lhs_dilation"])


def _shape(variable: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = variable.aval.shape
    return shape
