"""Tasks that are told captions: from sentences of records to a run's samples."""

import dataclasses
import functools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

import jgr
from jgr.config import resolve
from jgr.data.captioned_mnist import CaptionedMNIST, mentioned
from jgr.data.captions import Captions, captions
from jgr.data.digits import Digits
from jgr.data.loader import Data, Loader
from jgr.data.vocabulary import Vocabulary
from jgr.errors import ConfigError, DataError, RunError
from jgr.jobs.experiment import Experiment, open_evaluation
from jgr.jobs.explore.sentences import by_sentences
from jgr.jobs.load import Run
from jgr.losses import adversarial
from jgr.models import captioned, dcgan, mlp_vae
from jgr.models.text_encoders import Augmented, Recurrent
from jgr.rng import purpose_key
from jgr.tasks.gan import GAN
from jgr.tasks.matching import MatchingAware
from jgr.tasks.vae import VAE

SOURCE = CaptionedMNIST(digits=Digits(split="train"))
DATA = Data(source=SOURCE, captions=Captions(size=60, length=20))
TEXT = dict(cls="jgr.models.text_encoders.Recurrent", vocabulary_size=60, features=6, embedding_dim=4, summary="mean")


def config(**task):
    """A small text-conditional GAN on scikit-learn's digits in colours."""
    source = dict(
        cls="jgr.data.captioned_mnist.CaptionedMNIST", digits=dict(cls="jgr.data.digits.Digits", split="train")
    )
    network = dict(image_size=8, channels=3, width=4)
    agreement = dict(cls="jgr.metrics.captions.AttributeAgreement")
    return dict(
        data=dict(source=source, captions=dict(size=60, length=20)),
        task=dict(
            cls="jgr.tasks.gan.GAN",
            captions=dict(),
            generator=dict(
                cls="jgr.models.captioned.Generator",
                text_encoder=TEXT,
                generator=dict(cls="jgr.models.dcgan.Generator", latent_dim=8, **network),
            ),
            discriminator=dict(
                cls="jgr.models.dcgan.Discriminator",
                head=dict(cls="jgr.models.captioned.Head", text_encoder=TEXT, fusion="mul", width=8),
                **network,
            ),
            loss="jgr.losses.adversarial.hinge",
        )
        | task,
        train=dict(num_steps=2, batch_size=8, log_every=1, checkpoint_every=1, sample_every=2, num_samples=4),
        mesh=dict(data=1),
        evaluation=dict(
            data=dict(source=source | dict(digits=dict(cls="jgr.data.digits.Digits", split="test"))),
            num_samples=20,
            batch_size=20,
            seeds=(0,),
            metrics=dict(
                own=agreement,
                swapped=dict(agreement, judged="swapped"),
                real=dict(agreement, judged="real"),
                fd=dict(cls="jgr.metrics.distribution.FrechetDistance"),
            ),
        ),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "run"
    jgr.train(config(), path, quiet=True)
    return path


@pytest.fixture(scope="module")
def run(folder):
    return Run(folder)


def test_wrong_captions_are_never_right_over_a_whole_epoch():
    loader = Loader(DATA, seed=0, batch_size=32)
    assemble = jax.jit(loader.assemble)
    wrong = jax.jit(MatchingAware().wrong)
    chosen = set()
    for step, host in enumerate(loader.batches(0, len(SOURCE) // 32)):
        batch = assemble(loader.arrays, {name: array[0] for name, array in host.items()}, purpose_key(0, "data"))
        batch = {name: np.asarray(array[0]) for name, array in batch.items()}
        tokens, there = wrong(
            {name: batch[name] for name in ("tokens", "label")}, jax.random.split(jax.random.key(step), 32)
        )
        assert there.all()
        said = [mentioned(DATA.vocabulary.decode(row))["digit"] for row in np.asarray(tokens)]
        own = [mentioned(DATA.vocabulary.decode(row))["digit"] for row in batch["tokens"]]
        assert all(one != other for one, other in zip(said, own, strict=True))
        chosen |= set(zip(said, own, strict=True))
    assert len(chosen) > 80  # of 90 pairs


def test_without_labels_wrong_captions_read_otherwise_and_a_lone_one_has_none():
    keys = jax.random.split(jax.random.key(0), 4)
    tokens = jnp.array([[2, 5, 3], [2, 5, 3], [2, 6, 3], [2, 5, 3]])
    drawn, there = MatchingAware().wrong({"tokens": tokens}, keys)
    assert there.all()
    np.testing.assert_array_equal(drawn[jnp.array([0, 1, 3])], tokens[jnp.array([2, 2, 2])])
    np.testing.assert_array_equal(drawn[2], [2, 5, 3])
    alike, there = MatchingAware().wrong({"tokens": tokens, "label": jnp.zeros(4, jnp.int32)}, keys)
    assert not there.any()
    np.testing.assert_array_equal(alike, tokens)


def test_the_loss_weighs_generated_images_and_wrong_captions():
    real, fake, wrong = jnp.array([2.0, 0.5]), jnp.array([-0.5, -3.0]), jnp.array([1.0, -0.5])
    there = jnp.array([True, False])
    found = MatchingAware(weight=0.25).loss(adversarial.hinge, real, fake, wrong, there)
    # Where no caption is wrong, the generated image counts for it.
    wanted = 0.25 + 0.75 * (0.5 + 0.0) / 2 + 0.25 * (2.0 + 0.0) / 2
    assert found == pytest.approx(wanted)
    with pytest.raises(ConfigError, match=r"weight = 1.0 must be at least 0 and below 1"):
        MatchingAware(weight=1.0)


def test_the_vocabulary_lies_in_the_run_and_is_that_of_the_training_captions(folder, run):
    kept = Vocabulary.from_json((folder / "vocabulary.json").read_text())
    assert kept == Vocabulary.of(captions(SOURCE), size=60, length=20)
    assert len(kept) <= 60
    assert run.experiment.data.vocabulary == run.experiment.evaluation.data.vocabulary == kept
    assert run.evaluation([("num_samples", "10")]).data.vocabulary == kept
    for caption in captions(SOURCE):
        assert kept.decode(kept.encode([caption]).ids[0]).split() == caption.replace(",", " ,").split()


def test_a_run_goes_on_with_the_vocabulary_it_has(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "run")
    text = (tmp_path / "run/vocabulary.json").read_text()
    known = Vocabulary.from_json(text)
    other = dataclasses.replace(known, tokens=known.tokens[::-1])
    (tmp_path / "run/vocabulary.json").write_text(other.to_json())
    longer = config()
    longer["train"]["num_steps"] = 3
    jgr.train(longer, tmp_path / "run", quiet=True)
    assert Run(tmp_path / "run").experiment.data.vocabulary == other
    (tmp_path / "run/vocabulary.json").write_text("{}")
    with pytest.raises(RunError, match=r"vocabulary.json: this is no vocabulary"):
        Run(tmp_path / "run")


def test_a_step_reports_wrong_captions_and_both_text_encoders_learn(run):
    assert all(np.isfinite(row["discriminator/wrong_logits"]) for row in run.metrics())
    first, last = run.restore(1), run.restore(2)
    for network, path in (("generator", "text_encoder"), ("discriminator", "head")):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), first.params[network][path], last.params[network][path])
        table = moved["embedding" if path == "text_encoder" else "text_encoder"]
        assert max(jax.tree.leaves(table)) > 0


def test_samples_are_of_their_sentences(run, caplog):
    said, images = by_sentences(run, ["a thin red seven", "a thin blue 🙂", ""], num=3)
    assert images.shape == (3, 3, 8, 8, 3)
    assert said == ("a thin red seven", "a thin blue 🙂", "")
    assert caplog.record_tuples == [
        ("jgr.jobs.sampling", logging.WARNING, "'a thin blue 🙂': this run does not know 'blue', '🙂'")
    ]
    # The same latents, other words; the same words, other latents.
    assert (images[0] != images[1]).any()
    assert (images[0, 0] != images[0, 1]).any()
    by_sentences(run, ["a thin red seven " * 6], num=1)
    assert caplog.messages[1:] == [
        f"{'a thin red seven ' * 6!r} has 26 tokens, and is cut: this run reads 20 (config.data.captions.length), its "
        "beginning and end included"
    ]
    with pytest.raises(ConfigError, match=r"captions = .* must be a list of texts, such as \['a thin 4'\]"):
        run.sample(3, captions="a thin red seven")
    again = run.sample(3, captions=["a thin red seven"])
    np.testing.assert_array_equal(again, images[0])
    with pytest.raises(ConfigError, match="GAN of this run is told captions: look at it by"):
        run.explore()
    default, drawn = by_sentences(run, num=2)
    assert default == tuple(
        text for text, _ in zip(captions(run.experiment.evaluation.data.source), range(8), strict=False)
    )
    assert drawn.shape[:2] == (8, 2)


def test_captions_are_scored_beside_luck_and_real_images(run):
    scores = {row["protocol"]: row["value"] for row in jgr.evaluate(run.folder.path, quiet=True)}
    assert scores.keys() == {
        "agreement_all_u8_n20", "agreement_all_swapped_u8_n20", "agreement_all_real_u8_n360", "fd_pixels_u8_n20_test",
    }  # fmt: skip
    assert scores["agreement_all_real_u8_n360"] > 0.85  # strokes of one pixel have no pure colour
    assert all(0.0 < value < 0.9 for name, value in scores.items() if name.endswith("n20"))


def test_an_evaluation_of_ones_own_reads_captions_as_the_run_does(run):
    """As a study's, which is opened from a config and knows of no run."""
    own = open_evaluation(resolve(config(), Experiment))
    assert own.data.vocabulary is None
    rows = jgr.evaluate(run.folder.path, evaluation=own, seeds=(5,), quiet=True)
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_classes": 10}, ConfigError, "a GAN is told captions or labels"),
        ({"loss": "jgr.losses.adversarial.relativistic"}, ConfigError, "a loss of pairs has no place for wrong ones"),
        (
            {"generator": dict(cls="jgr.models.dcgan.Generator", image_size=8, channels=3, width=4)},
            ConfigError,
            r"takes no labels, but this GAN is told the tokens of records; jgr.models.captioned makes",
        ),
    ],
)
def test_what_does_not_go_with_captions_is_refused(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        jgr.train(config(**change), tmp_path / "run", quiet=True)


def test_data_without_captions_is_refused(tmp_path):
    silent = config()
    silent["data"] = dict(source=silent["data"]["source"])
    with pytest.raises(ConfigError, match=r"read without captions; take data.captions=dict\(\)"):
        jgr.train(silent, tmp_path / "run", quiet=True)
    silent["data"] = dict(source=dict(cls="jgr.data.digits.Digits"), captions=dict())
    with pytest.raises(DataError, match=r"record 0 of digits-all: has no caption, only 'image', 'label'"):
        jgr.train(silent, tmp_path / "run", quiet=True)


def records(num):
    """A batch of the first ones."""
    read = DATA.fit.read(SOURCE, range(num))
    batch = {name: jnp.asarray(array) for name, array in read.items()}
    image = batch["image"].astype(jnp.float32) / 255
    return batch | {"image": image, "index": jnp.arange(num), "position": jnp.arange(num)}


@functools.cache
def text_vae():
    text = Recurrent(60, 6, 4, summary="mean")
    return VAE(
        captions=True,
        encoder=captioned.Encoder(mlp_vae.Encoder(4, (8,)), text, "film"),
        decoder=captioned.Decoder(mlp_vae.Decoder(8, 3, 4, (8,)), text, "film"),
    )


def test_a_vae_is_told_captions_in_encoder_and_decoder():
    task = text_vae()
    batch = records(6)
    state = jax.jit(task.init)(jax.random.key(0), batch)
    state, metrics = jax.jit(task.step)(state, jax.tree.map(lambda leaf: leaf[None], batch), jax.random.key(1))
    assert np.isfinite(metrics["vae/elbo"])
    other = batch | {"tokens": batch["tokens"][::-1]}
    assert (task.posterior_mean(state, batch) != task.posterior_mean(state, other)).any()
    keys = jax.random.split(jax.random.key(2), 6)
    drawn, swapped = (task.sample(state, keys, {"tokens": each["tokens"]}) for each in (batch, other))
    assert drawn.shape == (6, 8, 8, 3)
    assert (drawn != swapped).any()
    assert task.log_likelihood(state, batch, keys, 3).shape == (6,)
    with pytest.raises(ValueError, match="this VAE is conditional, but was given no condition"):
        task.sample(state, keys)


def test_a_prior_of_sentences_begins_as_none_and_is_what_samples_and_bounds_are_of():
    plain = text_vae()
    task = dataclasses.replace(plain, prior=captioned.Prior(Recurrent(60, 6, 4), 4))
    batch = records(6)
    tokens = {"tokens": batch["tokens"]}
    keys = jax.random.split(jax.random.key(2), 6)
    state = jax.jit(task.init)(jax.random.key(0), batch)
    assert "prior" in task.averaged_networks
    np.testing.assert_array_equal(task.sample(state, keys, tokens), plain.sample(state, keys, tokens))
    np.testing.assert_allclose(
        task.log_likelihood(state, batch, keys, 3), plain.log_likelihood(state, batch, keys, 3), rtol=1e-6
    )
    state, metrics = jax.jit(task.step)(state, jax.tree.map(lambda leaf: leaf[None], batch), jax.random.key(1))
    kernel = state.params["prior"]["latents"]["kernel"]
    assert (kernel != 0).any()
    # Of a prior that is moved to the posterior the divergence is smaller; the samples are of its own mean and scale.
    prior = task.prior.apply({"params": state.params["prior"]}, labels=batch["tokens"], train=False)
    posterior = task.encode(state, batch)
    by_hand = 0.5 * (
        np.square(posterior.mean - prior.mean) / np.exp(prior.log_variance)
        + np.exp(posterior.log_variance - prior.log_variance)
        - 1
        - (posterior.log_variance - prior.log_variance)
    )
    np.testing.assert_allclose(task.posterior_divergence(state, batch), by_hand, atol=1e-5)
    latents = task.latents(keys)
    drawn = prior.mean + np.exp(0.5 * prior.log_variance) * latents
    np.testing.assert_allclose(task.sample(state, keys, tokens), plain.decode(state, drawn, tokens), atol=1e-6)
    assert np.isfinite(metrics["vae/elbo"])


def test_priors_that_do_not_fit_are_refused():
    plain = text_vae()
    with pytest.raises(ConfigError, match=r"prior.latent_dim = 5 must be that of the encoder, 4"):
        dataclasses.replace(plain, prior=captioned.Prior(Recurrent(60, 6, 4), 5))
    with pytest.raises(ConfigError, match=r"prior: p.z. is given what a VAE is told"):
        VAE(encoder=mlp_vae.Encoder(4), decoder=mlp_vae.Decoder(8, 3, 4), prior=captioned.Prior(Recurrent(60, 6, 4), 4))


def test_a_head_without_captions_is_an_error():
    head = captioned.Head(Recurrent(9, 4, 4), width=4)
    network = dcgan.Discriminator(image_size=8, channels=3, width=4, head=head)
    with pytest.raises(ConfigError, match="this head needs captions"):
        jax.eval_shape(functools.partial(network.init, train=True), jax.random.key(0), jnp.zeros((2, 8, 8, 3)))


class _OneCaption(captioned.Head):
    judges_several = False


def test_right_and_wrong_captions_are_judged_as_by_two_passes():
    batch = records(8)
    stepped = {}
    for kind in (captioned.Head, _OneCaption):
        head = kind(Recurrent(60, 6, 4), "film", 8)
        task = GAN(
            captions=MatchingAware(),
            generator=captioned.Generator(
                dcgan.Generator(image_size=8, channels=3, latent_dim=8, width=4), Recurrent(60, 6, 4)
            ),
            discriminator=dcgan.Discriminator(image_size=8, channels=3, width=4, head=head),
            loss=adversarial.hinge,
        )
        state = jax.jit(task.init)(jax.random.key(0), batch)
        step = jax.jit(task.step)
        stepped[kind] = step(state, jax.tree.map(lambda leaf: leaf[None], batch), jax.random.key(1))
    (together, metrics), (apart, expected) = stepped.values()
    assert metrics["discriminator/wrong_logits"] != metrics["discriminator/real_logits"]
    for name in ("real_logits", "wrong_logits", "fake_logits", "loss", "gradient_norm"):
        np.testing.assert_allclose(metrics[f"discriminator/{name}"], expected[f"discriminator/{name}"], rtol=1e-4)
    # Adam's first step has the gradients' signs, whatever their size: compared are the means of those.
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6),
        together.opt_state["discriminator"],
        apart.opt_state["discriminator"],
    )


def test_a_head_has_as_many_captions_as_images():
    head = captioned.Head(Recurrent(9, 4, 4), "film", 8)
    features, tokens = jnp.ones((3, 5)), jnp.ones((6, 4), jnp.int32)
    variables = head.init(jax.random.key(0), features, labels=tokens[:3], train=True)
    several = head.apply(variables, features, labels=tokens.reshape(3, 2, 4), train=True)
    assert several.shape == (3, 2)
    with pytest.raises((TypeError, TypeCheckError)):
        head.apply(variables, features, labels=tokens, train=True)


@pytest.mark.parametrize("kind", [captioned.Generator, captioned.Decoder])
def test_impossible_latents(kind):
    inside = dcgan.Generator(8, 3, 8, 4) if kind is captioned.Generator else mlp_vae.Decoder(8, 3, 4, (8,))
    with pytest.raises(ConfigError, match=r"latents = 0 must be at least 1, or None"):
        kind(inside, Recurrent(9, 4, 4), latents=0)


def test_an_encoder_has_a_number_for_every_token(tmp_path):
    small = config()
    small["task"]["generator"]["text_encoder"] = TEXT | dict(vocabulary_size=20)
    message = r"config\.task\.generator\.text_encoder\.vocabulary_size = 20 must be at least \d+, the tokens of"
    with pytest.raises(ConfigError, match=message):
        jgr.train(small, tmp_path / "run", quiet=True)


def test_a_gan_that_is_told_no_captions_says_so(tmp_path):
    plain = GAN(
        generator=dcgan.Generator(image_size=8, channels=3, width=4), discriminator=dcgan.Discriminator(image_size=8)
    )
    assert plain.condition_name is None
    assert dataclasses.replace(plain, num_classes=3).condition_name == "label"


def test_weights_bring_their_words_along(folder, run, tmp_path):
    """Whoever starts from a run's weights reads captions as it does, whatever its own training says."""
    own = config()
    own["data"]["source"] = own["data"]["source"] | dict(
        digits=dict(cls="jgr.data.digits.Digits", split="test"), seed=5
    )
    own["data"]["captions"] = dict(size=60, length=12)
    own["train"] |= dict(num_steps=0, init_from=dict(path=str(folder)))
    jgr.train(own, tmp_path / "run", quiet=True)
    loaded = Run(tmp_path / "run")
    assert loaded.experiment.data.vocabulary == run.experiment.data.vocabulary
    np.testing.assert_array_equal(
        loaded.sample(num=4, captions=["a thick 7"], seed=3), run.sample(num=4, captions=["a thick 7"], seed=3)
    )
    del own["train"]["init_from"]
    jgr.train(own, tmp_path / "other", quiet=True)
    assert Run(tmp_path / "other").experiment.data.vocabulary != run.experiment.data.vocabulary


def test_fewer_latents_than_the_fused_vector_is_wide():
    text = Recurrent(60, 6, 4, summary="mean")
    encoder = captioned.Encoder(mlp_vae.Encoder(2, (8,)), text)
    task = VAE(
        captions=True, encoder=encoder, decoder=captioned.Decoder(mlp_vae.Decoder(8, 3, 16, (8,)), text, latents=2)
    )
    batch = records(4)
    state = jax.jit(task.init)(jax.random.key(0), batch)
    assert task.latents(jax.random.split(jax.random.key(1), 4)).shape == (4, 2)
    assert state.params["decoder"]["fusion"]["features_matrix"]["kernel"].shape == (2, 16)
    assert task.reconstruct(state, batch).shape == (4, 8, 8, 3)
    with pytest.raises(ConfigError, match=r"decoder.latent_dim = 16, but encoder.latent_dim = 2"):
        VAE(captions=True, encoder=encoder, decoder=captioned.Decoder(mlp_vae.Decoder(8, 3, 16, (8,)), text))


def test_conditioning_augmentation_draws_a_texts_vector_and_costs_its_divergence():
    text, batch = Augmented(Recurrent(60, 6, 4, summary="mean"), 5), records(6)
    head = captioned.Head(Recurrent(60, 6, 4), "mul", 8)
    task = GAN(
        captions=MatchingAware(),
        generator=captioned.Generator(dcgan.Generator(image_size=8, channels=3, latent_dim=8, width=4), text),
        discriminator=dcgan.Discriminator(image_size=8, channels=3, width=4, head=head),
        loss=adversarial.hinge,
    )
    assert task.generator.draws
    state = jax.jit(task.init)(jax.random.key(0), batch)
    variables = {"params": state.params["generator"], **state.model_state["generator"]}
    encode = functools.partial(text.apply, {"params": variables["params"]["text_encoder"]}, batch["tokens"])
    found = encode(batch["tokens"] != 0, train=True, method="distribution")
    wanted = 0.5 * (np.square(found.mean) + np.exp(found.log_variance) - 1 - found.log_variance)
    divergence = task.generator.apply(variables, batch["tokens"], method="divergence")
    np.testing.assert_allclose(divergence, wanted.mean(axis=1), rtol=1e-5, atol=1e-7)
    # What is drawn has the distribution's mean and deviation, and is the mean where nothing is drawn.
    many = jax.random.split(jax.random.key(1), (4000, 6))
    drawn = jax.vmap(lambda keys: encode(batch["tokens"] != 0, train=True, keys=keys))(many)
    np.testing.assert_allclose(drawn.mean(axis=0), found.mean, atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=0), np.exp(0.5 * found.log_variance), rtol=0.1)
    np.testing.assert_array_equal(encode(batch["tokens"] != 0, train=False), found.mean)
    # The same latents with other draws are other images; equal keys make equal ones.
    keys, others = jax.random.split(jax.random.key(2), (2, 6))
    latents, tokens = task.latents(keys), {"tokens": batch["tokens"]}
    first = task.generate(state, latents, keys, tokens)
    np.testing.assert_array_equal(first, task.generate(state, latents, keys, tokens))
    assert (first != task.generate(state, latents, others, tokens)).any()
    stepped = {}
    for weight in (0.0, 2.0):
        own = dataclasses.replace(task, captions=MatchingAware(divergence_weight=weight))
        _, stepped[weight] = jax.jit(own.step)(state, jax.tree.map(lambda leaf: leaf[None], batch), keys[0])
    np.testing.assert_allclose(stepped[0.0]["generator/text_divergence"], divergence.mean(), rtol=0.2)
    np.testing.assert_allclose(
        stepped[2.0]["generator/loss"] - stepped[0.0]["generator/loss"],
        2 * stepped[2.0]["generator/text_divergence"],
        rtol=1e-3,
        atol=1e-5,
    )


def test_impossible_weights_of_captions():
    with pytest.raises(ConfigError, match=r"divergence_weight = -1\.0 must not be negative"):
        MatchingAware(divergence_weight=-1.0)


def test_captions_are_dropped_as_often_as_asked_and_never_count_as_wrong():
    dropping = dataclasses.replace(DATA, captions=dataclasses.replace(DATA.captions, dropout=0.3))
    whole, part = (Loader(data, seed=0, batch_size=200) for data in (DATA, dropping))
    share, seen = [], []
    for host in whole.batches(0, 5):
        host = {name: array[0] for name, array in host.items()}
        kept, dropped = (
            jax.jit(loader.assemble)(loader.arrays, host, purpose_key(0, "data")) for loader in (whole, part)
        )
        empty = np.asarray(dropped["token_mask"].sum(axis=-1) == 2)[0]
        share.append(empty.mean())
        np.testing.assert_array_equal(dropped["tokens"][0][~empty], kept["tokens"][0][~empty])
        assert (dropped["tokens"][0][empty] == DATA.vocabulary.encode([""]).ids).all()
        np.testing.assert_array_equal(dropped["image"], kept["image"])
        batch = {name: dropped[name][0] for name in ("tokens", "label")}
        tokens, there = jax.jit(MatchingAware().wrong)(batch, jax.random.split(jax.random.key(3), 200))
        assert there.all()
        seen.append(np.asarray(tokens[:, 1]))
    assert abs(np.mean(share) - 0.3) < 4 * np.sqrt(0.21 / 1000)
    assert (np.concatenate(seen) != DATA.vocabulary.encode([""]).ids[0, 1]).all()
    with pytest.raises(ConfigError, match=r"dropout = 1.0 must be at least 0 and below 1"):
        Captions(dropout=1.0)


def test_guidance_goes_from_what_is_drawn_untold_past_what_is_drawn_told():
    task, batch = text_vae(), records(6)
    state = jax.jit(task.init)(jax.random.key(0), batch)
    state = state.replace(params=jax.tree.map(lambda leaf: leaf + 0.03, state.params))
    keys, told = jax.random.split(jax.random.key(2), 6), {"tokens": batch["tokens"]}
    nothing = {"tokens": jnp.asarray(np.repeat(DATA.vocabulary.encode([""]).ids, 6, axis=0))}

    def logits(guidance, tokens):
        images = dataclasses.replace(task, guidance=guidance).sample(state, keys, tokens)
        return np.log(images / (1 - images))

    plain, outputs = logits(1.0, nothing), logits(1.0, told)
    np.testing.assert_allclose(logits(0.0, told), plain, atol=1e-4)
    np.testing.assert_allclose(logits(3.0, told), plain + 3 * (outputs - plain), atol=1e-3)
    with pytest.raises(ConfigError, match=r"guidance = 2.0 is of captions"):
        VAE(encoder=mlp_vae.Encoder(4), decoder=mlp_vae.Decoder(8, 3, 4), guidance=2.0)


def test_a_gan_has_no_guidance(run):
    with pytest.raises(ConfigError, match=r"guidance = 2.0: GAN of this run has none"):
        run.guided(2.0)
