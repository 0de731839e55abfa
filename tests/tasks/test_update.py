import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jgr.errors import ConfigError
from jgr.optim import Optimizer
from jgr.state import TrainState
from jgr.tasks.update import FINITE, update

SGD = Optimizer(rule=optax.sgd, learning_rate=0.1)
TERMS = {"loss", "gradients"}


def make_state(optimizer=SGD, networks=("line",), weight=(2.0, -1.0)):
    """A line y = w x + b, another network that stays, and model states of both."""
    params = {"line": {"w": jnp.array(weight), "b": jnp.array(0.5)}, "other": {"w": jnp.array([3.0, 4.0])}}
    owned = {name: params[name] for name in networks}
    return TrainState(
        step=jnp.int32(0),
        params=params,
        model_state={"line": {"counts": {"n": jnp.int32(0)}}, "other": {"counts": {"n": jnp.int32(7)}}},
        opt_state={"fit": optimizer.transformation().init(owned), "unused": {"kept": jnp.ones(2)}},
    )


BATCH = {
    "x": jnp.array([[1.0, 2.0], [-1.0, 0.5], [0.0, 3.0], [2.0, 2.0]]),
    "y": jnp.array([1.0, 0.0, -2.0, 0.5]),
    "position": jnp.arange(4, dtype=jnp.uint32),
}


def squares(params, model_state, batch, key):
    """Half the mean squared error; counts its batches, and changes a model state that it does not return."""
    residual = batch["x"] @ params["line"]["w"] + params["line"]["b"] - batch["y"]
    counted = {"counts": {"n": model_state["line"]["counts"]["n"] + 1}}
    return 0.5 * (residual**2).mean(), ({"line": counted}, {"residual": residual.mean()})


def stepped(state, loss_fn=squares, optimizer=SGD, networks=("line",)):
    return jax.jit(lambda s: update(s, "fit", optimizer, loss_fn, BATCH, jax.random.key(0), networks))(state)


def test_equals_gradient_descent_by_hand():
    after, metrics = stepped(make_state())
    x, y = np.asarray(BATCH["x"], np.float64), np.asarray(BATCH["y"], np.float64)
    residual = x @ [2.0, -1.0] + 0.5 - y
    gradient = np.array([*(residual @ x / 4), residual.mean()])
    np.testing.assert_allclose(after.params["line"]["w"], [2.0, -1.0] - 0.1 * gradient[:2], rtol=1e-6)
    np.testing.assert_allclose(after.params["line"]["b"], 0.5 - 0.1 * gradient[2], rtol=1e-6)
    np.testing.assert_allclose(metrics["fit/loss"], 0.5 * (residual**2).mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics["fit/gradient_norm"], np.linalg.norm(gradient), rtol=1e-6)
    np.testing.assert_allclose(metrics["fit/residual"], residual.mean(), rtol=1e-6)
    assert metrics.keys() == {"fit/loss", "fit/gradient_norm", "fit/residual"} | {f"{FINITE}fit/{t}" for t in TERMS}
    assert all(bool(metrics[f"{FINITE}fit/{term}"]) for term in TERMS)


def test_the_norm_is_told_before_clipping():
    clipping = Optimizer(rule=optax.sgd, learning_rate=1.0, clip_norm=0.25)
    before = make_state(clipping)
    after, metrics = stepped(before, optimizer=clipping)
    moved = [after.params["line"][name] - before.params["line"][name] for name in ("w", "b")]
    assert np.linalg.norm(np.hstack(moved)) == pytest.approx(0.25, rel=1e-5)
    assert float(metrics["fit/gradient_norm"]) > 1.0


def test_what_it_does_not_own_stays():
    before = make_state()

    def loss_fn(params, model_state, batch, key):
        loss, (returned, metrics) = squares(params, model_state, batch, key)
        assert params.keys() == {"line"}
        return loss + (before.params["other"]["w"] * params["line"]["w"]).sum(), (returned, metrics)

    after, _ = stepped(before, loss_fn)
    np.testing.assert_array_equal(after.params["other"]["w"], before.params["other"]["w"])
    np.testing.assert_array_equal(after.opt_state["unused"]["kept"], before.opt_state["unused"]["kept"])
    assert int(after.model_state["line"]["counts"]["n"]) == 1
    assert int(after.model_state["other"]["counts"]["n"]) == 7
    assert int(after.step) == 0  # the job advances it


def test_one_optimizer_may_own_two_networks():
    def loss_fn(params, model_state, batch, key):
        return (params["line"]["w"] * params["other"]["w"]).sum(), ({}, {})

    both = ("line", "other")
    after, metrics = stepped(make_state(networks=both), loss_fn, networks=both)
    np.testing.assert_allclose(after.params["line"]["w"], [2.0 - 0.3, -1.0 - 0.4], rtol=1e-6)
    np.testing.assert_allclose(after.params["other"]["w"], [3.0 - 0.2, 4.0 + 0.1], rtol=1e-6)
    np.testing.assert_allclose(metrics["fit/gradient_norm"], np.sqrt(2**2 + 1 + 3**2 + 4**2), rtol=1e-6)


def test_the_optimizer_remembers():
    momentum = Optimizer(rule=lambda learning_rate: optax.sgd(learning_rate, momentum=0.9), learning_rate=1.0)

    def loss_fn(params, model_state, batch, key):
        return params["line"]["b"], ({}, {})

    state = make_state(momentum)
    for expected in (0.5 - 1.0, 0.5 - 1.0 - 1.9, 0.5 - 1.0 - 1.9 - 2.71):
        state, _ = stepped(state, loss_fn, momentum)
        np.testing.assert_allclose(state.params["line"]["b"], expected, rtol=1e-6)


@jax.custom_jvp
def steep(x):
    return x


@steep.defjvp
def steep_jvp(primals, tangents):
    return primals[0], tangents[0] * jnp.inf


BREAKS = {
    "loss": (lambda w: jax.lax.stop_gradient(jnp.nan) + w.sum(), (2.0, -1.0), 0.1),
    "gradients": (lambda w: steep(w).sum(), (2.0, -1.0), 0.1),
    "loss gradients": (lambda w: jnp.log(-w[0]) * w[1], (2.0, -1.0), 0.1),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_each_term_is_checked_by_itself(broken):
    loss, weight, learning_rate = BREAKS[broken]
    optimizer = Optimizer(rule=optax.sgd, learning_rate=learning_rate)

    def loss_fn(params, model_state, batch, key):
        return loss(params["line"]["w"]), ({}, {})

    _, metrics = stepped(make_state(optimizer, weight=weight), loss_fn, optimizer)
    assert {term for term in TERMS if not metrics[f"{FINITE}fit/{term}"]} == set(broken.split())


def test_micro_batches_give_the_gradient_of_the_batch():
    """Means of means over equal parts; a record's key does not depend on how the batch is cut."""

    def noisy(params, model_state, batch, keys):
        noise = jax.vmap(jax.random.normal)(keys)
        return squares(params, model_state, batch | {"y": batch["y"] + noise}, keys)

    whole, told = stepped(make_state(), noisy)
    parts, again = stepped(make_state(), noisy, Optimizer(rule=optax.sgd, learning_rate=0.1, micro_batches=2))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole.params, parts.params)
    for name in ("fit/loss", "fit/gradient_norm", "fit/residual"):
        np.testing.assert_allclose(told[name], again[name], rtol=1e-5)
    assert int(parts.model_state["line"]["counts"]["n"]) == 2  # passed from part to part
    assert int(parts.model_state["other"]["counts"]["n"]) == 7


def test_micro_batches_must_divide_the_batch():
    with pytest.raises(
        ConfigError, match=r"config\.train\.batch_size = 4 must be a multiple of micro_batches = 3 of fit"
    ):
        stepped(make_state(), optimizer=Optimizer(rule=optax.sgd, micro_batches=3))
    with pytest.raises(ConfigError, match="micro_batches = 0 must be at least 1"):
        Optimizer(micro_batches=0)
