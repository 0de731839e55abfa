from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.losses.path_length import PathLength
from jgr.models.stylegan2 import Discriminator, Generator

SMALL = dict(image_size=8, channels=2, width=4, max_width=6)
GENERATOR = Generator(**SMALL, latent_dim=5, style_dim=6, mapping_layers=2, num_classes=3, mixing=0.0)
DISCRIMINATOR = Discriminator(**SMALL, mapping_layers=2, num_classes=3)
LABELS = jnp.asarray([0, 1, 2, 0])
LATENTS = jax.random.normal(jax.random.key(7), (4, 5))
KEYS = jax.random.split(jax.random.key(8), 4)


def drawn(module, *arguments, **options):
    """Variables of which none is what it starts as: noise and biases start at 0."""
    shapes = jax.eval_shape(partial(module.init, train=True, **options), jax.random.key(0), *arguments)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        scale = 100.0 if any("dense_" in part.key for part in path) else 1.0  # mapping layers learn at a rate of 0.01
        return jnp.asarray(scale * rng.standard_normal(leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture(scope="module")
def variables():
    return drawn(GENERATOR, LATENTS, labels=LABELS)


@pytest.fixture(scope="module")
def call(variables):
    """A method of the generator, compiled."""
    compiled = {}

    def run(method, *arguments, generator=GENERATOR, **options):
        static = {name: options.pop(name) for name in ("train", "mutable") if name in options}
        key = (method, generator, str(static), tuple(options))
        if key not in compiled:
            compiled[key] = jax.jit(partial(generator.apply, method=method, **static))
        return compiled[key](variables, *arguments, **options)

    return run


def count(module, *arguments, **options):
    shapes = jax.eval_shape(partial(module.init, train=True, **options), jax.random.key(0), *arguments)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize(
    ("size", "width", "num_classes", "residual", "of_generator", "of_discriminator"),
    [
        (32, 512, 10, False, 20_215_315, 23_089_664),  # StudioGAN's log of StyleGAN2 on CIFAR-10
        (1024, 32, None, True, 28_794_124, 29_012_513),  # the authors' table of StyleGAN2-ADA at 1024 pixels
    ],
)
def test_parameter_counts_of_the_published_networks(size, width, num_classes, residual, of_generator, of_discriminator):
    told = {} if num_classes is None else {"labels": LABELS[:1]}
    generator = Generator(image_size=size, width=width, num_classes=num_classes, mapping_layers=2)
    discriminator = Discriminator(image_size=size, width=width, num_classes=num_classes, residual=residual)
    assert count(generator, jnp.zeros((1, 512)), **told) == of_generator
    assert count(discriminator, jnp.zeros((1, size, size, 3)), **told) == of_discriminator


def test_image_is_synthesised_from_its_styles_and_clipped_outside_training(call):
    styles = call("map", LATENTS, labels=LABELS)
    assert styles.shape == (4, GENERATOR.num_layers, 6)
    assert GENERATOR.num_layers == 4  # one convolution at 4x4, two at 8x8, and the last layer
    assert bool((styles == styles[:, :1]).all())
    images = call("__call__", LATENTS, labels=LABELS, keys=KEYS, train=True)
    assert images.shape == (4, 8, 8, 2)
    np.testing.assert_allclose(images, call("synthesise", styles, keys=KEYS, train=True), atol=1e-5)
    assert bool((images < -1).any())
    assert bool((images > 2).any())
    sampled = call("__call__", LATENTS, labels=LABELS, keys=KEYS, train=False)
    assert sampled.dtype == jnp.float32
    np.testing.assert_allclose(sampled, jnp.clip(images, 0, 1), atol=1e-5)


def test_image_depends_on_its_own_key_label_and_latent_only(call):
    paint = partial(call, "__call__", train=True)
    images = paint(LATENTS, labels=LABELS, keys=KEYS)
    pair = jnp.asarray([2, 1])
    np.testing.assert_allclose(paint(LATENTS[pair], labels=LABELS[pair], keys=KEYS[pair]), images[pair], atol=1e-5)
    for changed in (
        paint(LATENTS, labels=LABELS, keys=jnp.roll(KEYS, 1)),
        paint(LATENTS, labels=(LABELS + 1) % 3, keys=KEYS),
        paint(jnp.roll(LATENTS, 1, 0), labels=LABELS, keys=KEYS),
    ):
        assert float(jnp.abs(changed - images).max((1, 2, 3)).min()) > 1e-2


def test_length_of_a_latent_does_not_matter(call):
    styles = call("map", LATENTS, labels=LABELS)
    np.testing.assert_allclose(call("map", 3 * LATENTS, labels=LABELS), styles, rtol=1e-5)


def test_noise_is_scaled_by_a_strength_of_each_layer(variables):
    styles = jnp.ones((2, GENERATOR.num_layers, 6))
    images = jax.jit(partial(GENERATOR.apply, train=True, method="synthesise"))

    def silenced(*layers):
        params = jax.tree.map(lambda leaf: leaf, variables["params"])
        for level, layer in layers:
            params[level][layer] |= {"noise_strength": jnp.zeros(())}
        return variables | {"params": params}

    layers = [("levels_0", "layer_0"), ("levels_1", "layer_0"), ("levels_1", "layer_1")]
    quiet = images(variables, styles)
    for audible in layers:
        rest = silenced(*(layer for layer in layers if layer != audible))
        noisy = images(rest, styles, keys=KEYS[:2])
        assert float(jnp.abs(noisy - quiet).max((1, 2, 3)).min()) > 1e-3
        assert float(jnp.abs(noisy[0] - noisy[1]).max()) > 1e-3
    np.testing.assert_allclose(images(silenced(*layers), styles, keys=KEYS[:2]), quiet, atol=1e-6)


def test_mixing_changes_the_layers_from_a_crossover_on(variables):
    generator, num = GENERATOR.clone(mixing=0.75), 400
    keys, labels = jax.random.split(jax.random.key(0), num), jnp.zeros(num, jnp.int32)
    styles = jnp.zeros((num, 4, 6))
    mixed = np.asarray(jax.jit(partial(generator.apply, method="mix"))(variables, styles, labels=labels, keys=keys))
    changed = (mixed != 0).any(2)
    crossovers = 4 - changed.sum(1)
    np.testing.assert_array_equal(
        changed, np.arange(4) >= crossovers[:, None]
    )  # all layers from one on, never the first
    share = np.bincount(crossovers, minlength=5) / num
    np.testing.assert_allclose(share, [0, 0.25, 0.25, 0.25, 0.25], atol=4 * np.sqrt(0.25 * 0.75 / num))
    others = mixed[crossovers == 1]
    assert bool((others[:, 1:] == others[:, 1:2]).all())  # one second style an image
    assert np.abs(others[0, 1] - others[1, 1]).max() > 1e-3


def test_mixing_is_of_training_only(call):
    styles, always = call("map", LATENTS, labels=LABELS), GENERATOR.clone(mixing=1.0)
    told = dict(labels=LABELS, keys=KEYS)
    paint = partial(call, "synthesise", keys=KEYS, train=True)
    trained = call("__call__", LATENTS, **told, generator=always, train=True)
    np.testing.assert_allclose(trained, paint(call("mix", styles, **told, generator=always)), atol=1e-5)
    sampled = call("__call__", LATENTS, **told, generator=always, train=False)
    np.testing.assert_allclose(sampled, jnp.clip(paint(styles), 0, 1), atol=1e-5)


def test_every_style_of_an_image_matters(call):
    styles = call("map", LATENTS, labels=LABELS)
    images = call("synthesise", styles, keys=KEYS, train=True)
    for layer in range(GENERATOR.num_layers):
        changed = call("synthesise", styles.at[:, layer].add(1.0), keys=KEYS, train=True)
        assert float(jnp.abs(changed - images).max((1, 2, 3)).min()) > 1e-2


def test_truncation_to_the_mean_style_gives_one_image(variables, call):
    np.testing.assert_array_equal(call("mean_style"), variables["style_average"]["mean"])
    mean, styles = call("mean_style").reshape(1, 1, -1), call("map", LATENTS, labels=LABELS)
    images = [call("synthesise", mean + psi * (styles - mean), train=True) for psi in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(images[0], jnp.broadcast_to(images[0][:1], images[0].shape), atol=1e-6)
    spread = [float(image.std(0).mean()) for image in images]
    assert spread[0] < 1e-6 < spread[1]
    assert spread[1] < spread[2]


def test_mean_style_follows_training_at_the_published_rate(variables, call):
    before = variables["style_average"]["mean"]
    styles, changed = call("map", LATENTS, labels=LABELS, train=True, mutable=["style_average"])
    # StyleGAN2-ADA's 0.995; StyleGAN3's authors have 0.998
    expected = 0.995 * np.asarray(before) + 0.005 * np.asarray(styles[:, 0]).mean(0)
    np.testing.assert_allclose(changed["style_average"]["mean"], expected, rtol=1e-5)
    _, same = call("map", LATENTS, labels=LABELS, train=False, mutable=["style_average"])
    np.testing.assert_array_equal(same["style_average"]["mean"], before)
    start = jax.jit(partial(GENERATOR.init, train=True))(jax.random.key(0), LATENTS, labels=LABELS)
    assert not start["style_average"]["mean"].any()


def test_start_has_activations_of_unit_size():
    """Equalised weights, gains of the activations and demodulation keep the scale through many layers."""
    generator = Generator(image_size=16, width=24, max_width=24, latent_dim=64, style_dim=64, mapping_layers=4)
    latents = jax.random.normal(jax.random.key(0), (8, 64))

    @jax.jit
    def start(key):
        variables = generator.init(key, latents, train=False)
        _, seen = generator.apply(
            variables, latents, train=False, capture_intermediates=True, mutable=["intermediates"]
        )
        return seen["intermediates"]

    seen = start(jax.random.key(1))
    energies = [seen["mapping"]["__call__"][0], *(seen[f"levels_{number}"]["__call__"][0][0] for number in range(3))]
    # Zeros around small images and the upsampling's low-pass take some; a gain of sqrt 2 left out leaves 1 / 32.
    assert all(0.1 < float(jnp.square(values).mean()) < 3 for values in energies)


@pytest.mark.parametrize("residual", [True, False])
def test_discriminator_with_a_penalty_has_finite_gradients(residual):
    network = DISCRIMINATOR.clone(residual=residual)
    images = jax.random.uniform(jax.random.key(0), (4, 8, 8, 2))
    variables = drawn(network, images, labels=LABELS)

    def loss(variables):
        judge = lambda images: network.apply(variables, images, labels=LABELS, train=True)  # noqa: E731
        logits, slope = judge(images), jax.grad(lambda images: judge(images).sum())(images)
        return jax.nn.softplus(logits).mean() + jnp.square(slope).mean(), logits

    gradients, logits = jax.jit(jax.grad(loss, has_aux=True))(variables)
    assert logits.shape == (4,)
    assert logits.dtype == jnp.float32
    for leaf in jax.tree.leaves(gradients):
        assert bool(jnp.isfinite(leaf).all())
        assert bool((leaf != 0).any())


def gradient(generator, variables):
    def loss(params):
        images = generator.apply(variables | {"params": params}, LATENTS, labels=LABELS, keys=KEYS, train=True)
        return jnp.square(images - 0.3).mean()

    return jax.jit(jax.grad(loss))(variables["params"])


@pytest.mark.slow
def test_generator_has_finite_gradients_everywhere_and_remat_does_not_change_them(variables):
    gradients = gradient(GENERATOR, variables)
    for leaf in jax.tree.leaves(gradients):
        assert bool(jnp.isfinite(leaf).all())
        assert bool((leaf != 0).any())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * float(jnp.abs(b).max())),
        gradient(GENERATOR.clone(remat=True), variables),
        gradients,
    )


def test_path_length_is_that_of_finite_differences_and_trains_the_synthesis(variables):
    penalty = PathLength()
    styles = jax.random.normal(jax.random.key(3), (2, GENERATOR.num_layers, 6))

    def lengths(params, styles):
        synthesise = partial(
            GENERATOR.apply, variables | {"params": params}, keys=KEYS[:2], train=True, method="synthesise"
        )
        return penalty.lengths(synthesise, styles, KEYS[2:])

    def loss(params):
        values = lengths(params, styles)
        return penalty.penalty(values, jnp.float32(0.1)).mean(), values

    gradients, values = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    # J^T y by finite differences of y . image, the second image's
    paint = jax.jit(partial(GENERATOR.apply, variables, keys=KEYS[:2], train=True, method="synthesise"))
    noise = jax.random.normal(KEYS[3], (8, 8, 2)) / 8  # root of 8 x 8 pixels
    steps = 1e-3 * np.eye(GENERATOR.num_layers * 6, dtype=np.float32).reshape(-1, 1, GENERATOR.num_layers, 6)

    def projected(styles):
        return float(jnp.vdot(2 * paint(styles)[1], noise))

    slopes = [(projected(styles + step) - projected(styles - step)) / 2e-3 for step in steps]
    expected = np.sqrt(np.square(slopes).reshape(-1, 6).sum(1).mean())
    np.testing.assert_allclose(values[1], expected, rtol=2e-2)
    for name, part in gradients.items():
        for leaf in jax.tree.leaves(part):
            assert bool(jnp.isfinite(leaf).all())
        # it is of the styles given: the mapping is not concerned
        assert (name != "mapping") == any(bool((leaf != 0).any()) for leaf in jax.tree.leaves(part))


def test_label_projects_the_features():
    """The logit is linear in the label's direction: with another label it is another one of the same features."""
    images = jax.random.uniform(jax.random.key(0), (4, 8, 8, 2))
    variables = drawn(DISCRIMINATOR, images, labels=LABELS)
    judge = jax.jit(partial(DISCRIMINATOR.apply, train=False, capture_intermediates=True, mutable=["intermediates"]))
    seen = {label: judge(variables, images, labels=jnp.full(4, label)) for label in (0, 1)}
    features = [np.asarray(state["intermediates"]["projected"]["__call__"][0]) for _, state in seen.values()]
    np.testing.assert_allclose(*features, rtol=1e-5)
    for logits, state in seen.values():
        direction = np.asarray(state["intermediates"]["mapping"]["__call__"][0])
        np.testing.assert_allclose(logits, (features[0] * direction).sum(1) / np.sqrt(6), rtol=1e-4)
    assert float(jnp.abs(seen[0][0] - seen[1][0]).min()) > 1e-3


def test_discriminator_sees_that_images_of_a_group_are_alike():
    images = jax.random.uniform(jax.random.key(0), (4, 8, 8, 2))
    labels = jnp.zeros(4, jnp.int32)
    variables = drawn(DISCRIMINATOR, images, labels=labels)
    judge = jax.jit(partial(DISCRIMINATOR.apply, variables, labels=labels, train=False))
    alike = jnp.repeat(images[:1], 4, axis=0)
    assert abs(float(judge(images)[0] - judge(alike)[0])) > 1e-3


def test_bfloat16_gives_float32_images_and_logits(variables):
    images = jax.random.uniform(jax.random.key(0), (4, 8, 8, 2))
    judges = drawn(DISCRIMINATOR, images, labels=LABELS)

    @partial(jax.jit, static_argnums=0)
    def both(dtype):
        generator, discriminator = GENERATOR.clone(dtype=dtype), DISCRIMINATOR.clone(dtype=dtype)
        made = generator.apply(variables, LATENTS, labels=LABELS, keys=KEYS, train=True)
        return made, discriminator.apply(judges, images, labels=LABELS, train=False)

    for half, whole in zip(both(jnp.bfloat16), both(None), strict=True):
        assert half.dtype == jnp.float32
        assert 0 < float(jnp.abs(half - whole).max()) < 0.05 * float(jnp.abs(whole).max())


def test_sides_that_are_no_powers_of_two():
    generator = Generator(image_size=28, channels=1, width=4, latent_dim=5, style_dim=6, mapping_layers=1)
    shapes = jax.eval_shape(partial(generator.init_with_output, train=True), jax.random.key(0), LATENTS)
    assert shapes[0].shape == (4, 28, 28, 1)
    assert shapes[1]["params"]["constant"].shape == (7, 7, 16)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Generator(image_size=34), "image_size = 34"),
        (lambda: Discriminator(image_size=4), "image_size = 4"),
        (lambda: Generator(image_size=8, style_dim=0), "style_dim = 0"),
        (lambda: Generator(image_size=8, mixing=1.5), "mixing = 1.5 must be a probability"),
        (lambda: Generator(image_size=8, average_decay=1.0), "average_decay = 1.0"),
        (lambda: Discriminator(image_size=8, num_classes=1), "num_classes = 1"),
        (lambda: count(GENERATOR, LATENTS), "generator was given no labels, but num_classes = 3"),
        (lambda: count(GENERATOR, LATENTS[:, :4], labels=LABELS), "latents of length 4, but latent_dim = 5"),
        (lambda: count(DISCRIMINATOR, jnp.zeros((4, 8, 8, 3)), labels=LABELS), r"images of \(8, 8, 3\)"),
        (
            lambda: count(DISCRIMINATOR.clone(num_classes=None), jnp.zeros((4, 8, 8, 2)), labels=LABELS),
            "discriminator was given labels",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
