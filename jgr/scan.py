"""Repeated steps inside one compiled function."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
from jax.extend import core

Carry = TypeVar("Carry")


def scan(body: Callable[[Carry, Any], tuple[Carry, Any]], carry: Carry, xs: Any) -> tuple[Carry, Any]:
    """`jax.lax.scan`, unrolled on CPU where the body convolves.

    Inside a loop XLA's CPU backend runs the gradient of a convolution about 50 times slower than outside.

    Args:
        body: (carry, one of xs) -> (carry, what is stacked).
        carry: The first carry.
        xs: Arrays to go through along their first axis.
    """
    unroll = jax.default_backend() == "cpu" and _convolves(body, carry, xs)
    return jax.lax.scan(body, carry, xs, unroll=unroll)


def _convolves(body: Callable[[Any, Any], Any], carry: Any, xs: Any) -> bool:
    first = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
    jaxpr = jax.make_jaxpr(body)(carry, first).jaxpr
    return any(equation.primitive.name == "conv_general_dilated" for equation in equations(jaxpr))


def equations(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
    """All equations of a jaxpr and of those inside it; a loop's body counts once."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in core.jaxprs_in_params(equation.params):
            yield from equations(inner)
