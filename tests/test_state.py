import jax.numpy as jnp
import numpy as np
import pytest

from jgr.state import TrainState, advance_average, averaged, checksums, leaves_by_name, with_average


def make_state(weight, statistics=0.0, vector=0.0):
    return TrainState(
        step=jnp.int32(0),
        params={"g": {"w": jnp.full(3, weight)}, "d": {"w": jnp.ones(2)}},
        model_state={
            "g": {"batch_stats": {"mean": jnp.full(3, statistics)}, "spectral": {"u": jnp.full(3, vector)}},
            "d": {},
        },
        opt_state={},
    )


def run(state, steps, half_life, ramp_up, weight=1.0):
    for step in range(1, steps + 1):
        state = make_state(weight, statistics=2.0, vector=5.0).replace(ema=state.ema, step=jnp.int32(step))
        state = advance_average(state, half_life, ramp_up)
    return state


def test_after_a_half_life_half_of_the_start_is_left():
    state = run(with_average(make_state(0.0), ("g",)), steps=100, half_life=100, ramp_up=1e9)
    np.testing.assert_allclose(state.ema["params"]["g"]["w"], 0.5, rtol=1e-5)
    np.testing.assert_allclose(state.ema["model_state"]["g"]["batch_stats"]["mean"], 1.0, rtol=1e-5)


def test_what_is_no_average_is_copied():
    state = run(with_average(make_state(0.0), ("g",)), steps=1, half_life=100, ramp_up=1e9)
    np.testing.assert_array_equal(state.ema["model_state"]["g"]["spectral"]["u"], 5.0)


def test_ramp_up_forgets_the_start():
    # With half-life min(H, r*t) the start's weight after T steps is 0.5 ** sum(1 / min(H, r*t)).
    expected = 0.5 ** sum(1 / min(1000, 0.5 * t) for t in range(1, 21))
    state = run(with_average(make_state(0.0), ("g",)), steps=20, half_life=1000, ramp_up=0.5)
    np.testing.assert_allclose(1 - state.ema["params"]["g"]["w"], expected, rtol=1e-3)


def test_averaged_puts_the_average_in_place_of_its_networks_only():
    state = with_average(make_state(3.0), ("g",)).replace(params=make_state(9.0).params)
    assert averaged(state).params["g"]["w"][0] == 3.0
    assert averaged(state).params["d"] is state.params["d"]
    assert averaged(make_state(1.0)).params["g"]["w"][0] == 1.0


def test_checksums_tell_a_single_bit():
    state = make_state(1.0)
    other = make_state(1.0).replace(
        params={**state.params, "d": {"w": jnp.asarray([1.0, np.nextafter(np.float32(1), 2)])}}
    )
    changed = {name for name, value in checksums(state).items() if checksums(other)[name] != value}
    assert changed == {"params/d/w"}
    assert "model_state/g/batch_stats/mean" in leaves_by_name(state)


@pytest.mark.parametrize("ema", [{}])
def test_without_an_average_nothing_advances(ema):
    assert advance_average(make_state(1.0), 0, 0.05).ema == ema
