"""The larger GANs of `experiments/speed.py`: both sides train the same networks, which cost what is said."""

import itertools
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
NAMES = ["sngan_cnn", "sngan_resnet", "stylegan2"]


@pytest.fixture(autouse=True)
def _experiments(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(EXPERIMENTS)
    torch.set_num_threads(1)


def operations(task, state, batch):
    """Of jgr's step, as far as something is made of them."""
    from jax.interpreters.partial_eval import dce_jaxpr

    from jgr.flops import count_flops

    jaxpr = jax.make_jaxpr(task.step)(state, batch, jax.random.key(0)).jaxpr
    return count_flops(dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0])


def of_spectral_norm(task, state):
    """A step's, of any batch: three products of matrix and vector in each pass, one for the gradient."""
    if "spectral" not in state.model_state["discriminator"]:
        return 0
    kernels = [leaf for leaf in jax.tree.leaves(state.params["discriminator"]) if leaf.ndim > 1]
    passed = sum(6 * kernel.size + 2 * kernel.shape[-1] for kernel in kernels)
    gradient = sum(2 * kernel.size + 2 * kernel.shape[-1] for kernel in kernels)
    return task.num_d_steps * 2 * (passed + gradient) + passed


def of_resampling(game):
    """What gradients of convolutions that resample multiply in a frame of zeros around their results."""
    from speed_flops import conv

    own, _ = game.arguments(smoke=False)
    widths = [min(own["width"] << level, own["max_width"]) for level in range((own["image_size"] // 4).bit_length())]
    frames = 0.0
    for level, (low, high) in enumerate(itertools.pairwise(widths)):
        side = own["image_size"] >> level
        frames += conv(side + 2, 3, high, low) - conv(side, 3, high, low)
        frames += 3 * (conv(side + 1, 3, low, high) / 4 - conv(side // 2, 3, low, high))  # two judged, one answered
    return frames


@pytest.mark.slow  # PyTorch draws millions of weights
@pytest.mark.parametrize("name", NAMES)
def test_networks_are_the_same_and_cost_what_is_said(name):
    """Full ones, jgr's as shapes alone; and PyTorch's side takes steps with tiny ones."""
    import speed_gan_jgr
    from speed_gan import GAMES
    from speed_gan_torch import untrained
    from speed_rows import ROWS, Settings, program

    from jgr.jobs.step import make_loader, state_shapes

    (row,) = (row for row in ROWS if row.name == name)
    game, settings = GAMES[name], Settings(batch=2, row=name)
    experiment = speed_gan_jgr.experiment(settings)
    task, loader = experiment.task, make_loader(experiment)
    state = state_shapes(experiment, loader)
    for network, twin in zip(("generator", "discriminator"), untrained(settings), strict=True):
        size = sum(leaf.size for leaf in jax.tree.leaves(state.params[network]))
        assert size == sum(parameter.numel() for parameter in twin.parameters()), network

    expected = row.flops
    if name == "stylegan2":  # jgr doubles the sides before the convolution
        expected = game.flops(enlarged_first=True) + of_resampling(game)
        assert row.flops < expected
    expected = 2 * expected + of_spectral_norm(task, state)
    assert operations(task, state, loader.batch_spec()) == expected

    assert program(row.torch, Settings(batch=4, smoke=True, row=name))(2) == 2


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_the_configs(name):
    """StyleGAN2's but for its widths and the penalty, which both sides leave out."""
    import speed_gan_jgr
    from speed_gan import GAMES
    from speed_rows import Settings

    from jgr.config import load_config_file

    game, config = GAMES[name], load_config_file(str(speed_gan_jgr.CONFIGS / GAMES[name].config))
    task = speed_gan_jgr.experiment(Settings(batch=2, row=name)).task
    for network, own in zip(("generator", "discriminator"), game.arguments(smoke=False), strict=True):
        known = {key: value for key, value in config.task[network].items() if key in own}
        changed = {key for key, value in known.items() if value != own[key]}
        assert changed <= ({"width", "max_width", "latent_dim", "style_dim"} if name == "stylegan2" else set())
    assert (task.num_d_steps, task.generator_multiple) == (game.num_d_steps, game.multiple)
    told = [config.task[f"{network}_optimizer"] for network in ("generator", "discriminator")]
    assert tuple(optimizer.learning_rate for optimizer in told) == game.rates
    assert (told[1].rule.b1, told[1].rule.b2) == game.betas
    assert config.task.loss.endswith("hinge") == game.hinge
    assert ("average" in config.train) == bool(game.half_life)
    assert ("augment" in config.data) == game.flip


def of_twin(twin):
    """Layers of PyTorch's, with the names of jgr's."""
    import torch_gan
    from torch import nn

    def listed(kind, name, modules):
        return [((f"{name}_{i}",), layer) for i, layer in enumerate(m for m in modules if isinstance(m, kind))]

    if isinstance(twin, torch_gan.SNGANGenerator):
        kinds = {
            "Dense": nn.Linear,
            "BatchNorm": nn.BatchNorm2d,
            "ConvTranspose": nn.ConvTranspose2d,
            "Conv": nn.Conv2d,
        }
        return [pair for name, kind in kinds.items() for pair in listed(kind, name, twin.layers)]
    if isinstance(twin, torch_gan.SNGANDiscriminator):
        return [*listed(nn.Conv2d, "Conv", twin.layers), (("head", "linear"), twin.layers[-2])]
    parts = {"conv_0": "Conv_0", "conv_1": "Conv_1", "norm_0": "BatchNorm_0", "norm_1": "BatchNorm_1"}
    parts |= {"shortcut": "Pointwise_0"}
    if isinstance(twin, torch_gan.ResNetGenerator):
        top = [(("Dense_0",), twin.layers[0]), (("BatchNorm_0",), twin.layers[-4]), (("Conv_0",), twin.layers[-2])]
        blocks, kind = twin.layers[2:-4], "GeneratorBlock"
    elif isinstance(twin, torch_gan.ResNetDiscriminator):
        top, blocks, kind = [(("head", "linear"), twin.logit)], twin.blocks, "DiscriminatorBlock"
    else:
        return of_stylegan2(twin)
    return top + [
        ((f"{kind}_{i}", parts[name]), layer)
        for i, block in enumerate(blocks)
        for name, layer in block.named_children()
        if not isinstance(layer, nn.Identity)
    ]


def of_stylegan2(twin):
    mapping = [(("mapping", "embed"), twin.mapping.embed)]
    mapping += [(("mapping", f"dense_{i}"), layer) for i, layer in enumerate(twin.mapping.layers)]
    if hasattr(twin, "from_image"):
        single = [((name,), getattr(twin, name)) for name in ("from_image", "last_conv", "dense", "projected")]
        levels = [((f"levels_{i // 2}", f"conv_{i % 2}"), layer) for i, layer in enumerate(twin.levels)]
        return mapping + single + levels
    found = mapping
    for i, level in enumerate(twin.levels):
        for j, layer in enumerate(level.layers):
            path = (f"levels_{i}", f"layer_{j}")
            found += [((*path, "conv"), layer.conv), ((*path, "conv", "affine"), layer.conv.affine), (path, layer)]
        path = (f"levels_{i}", "to_image")
        found += [(path, level.to_image), ((*path, "affine"), level.to_image.affine), ((f"levels_{i}",), level)]
    return found


def copy(layer, own):
    """Weights of one of jgr's layers, in PyTorch's layout."""
    import torch
    from torch import nn

    weights = {name: value for name, value in own.items() if not isinstance(value, dict)}
    if "kernel" in weights:
        kernel = weights.pop("kernel")
        if isinstance(layer, nn.ConvTranspose2d):
            weights["weight"] = kernel[::-1, ::-1].transpose(2, 3, 0, 1)
        elif kernel.ndim == 4:  # a transposed convolution turns the kernel
            turned = (
                kernel[::-1, ::-1]
                if getattr(layer, "filter", None) is not None and hasattr(layer, "affine")
                else kernel
            )
            weights["weight"] = turned.transpose(3, 2, 0, 1)
        else:
            weights["weight"] = kernel.T
    for theirs, ours in (("weight", "scale"), ("strength", "noise_strength")):
        if ours in weights:
            weights[theirs] = weights.pop(ours)
    for name, value in weights.items():
        held = getattr(layer, name)
        if name == "weight" and hasattr(layer, "parametrizations"):
            held = layer.parametrizations.weight.original
            matrix = np.asarray(value).reshape(len(value), -1)
            left, _, right = np.linalg.svd(matrix, full_matrices=False)
            norm = layer.parametrizations.weight[0]
            norm._u.copy_(torch.tensor(left[:, 0]))
            norm._v.copy_(torch.tensor(right[0]))
        held.data.copy_(torch.tensor(np.ascontiguousarray(value)).reshape(held.shape))


def channels_first(path, own):
    """With features of the coarsest level, which has 4x4 pixels, in PyTorch's order."""
    if path == ("Dense_0",):
        return {name: x.reshape(*x.shape[:-1], 16, -1).swapaxes(-1, -2).reshape(x.shape) for name, x in own.items()}
    if path in (("head", "linear"), ("dense",)) and len(own["kernel"]) % 16 == 0:
        kernel = own["kernel"]
        return own | {"kernel": kernel.reshape(16, -1, kernel.shape[1]).swapaxes(0, 1).reshape(kernel.shape)}
    return own


def with_singular_vectors(variables):
    """With `u` at its limit, so that both sides divide by the same."""
    spectral = jax.tree.map(np.asarray, variables["spectral"])

    def visit(kept, params):
        for name, value in kept.items():
            if name.endswith("/u"):
                layer, leaf, _ = name.split("/")
                kernel = params[layer][leaf]
                kept[name] = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), full_matrices=False)[2][:1]
            elif isinstance(value, dict):
                visit(value, params if name.startswith("SpectralNorm") else params[name])

    visit(spectral, variables["params"])
    return variables | {"spectral": spectral}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_twins_give_what_jgr_gives(name):
    import speed_gan_jgr
    import torch
    from speed_gan_torch import untrained
    from speed_rows import Settings

    settings = Settings(batch=4, smoke=True, row=name)
    task, rng = speed_gan_jgr.experiment(settings).task, np.random.default_rng(0)
    latents = rng.standard_normal((4, task.generator.latent_dim)).astype(np.float32)
    images, labels = rng.random((4, 8, 8, 3)).astype(np.float32), np.asarray([0, 1, 2, 0])
    told = {} if task.num_classes is None else {"labels": labels.astype(np.int32)}
    for module, twin, inputs in zip(
        (task.generator, task.discriminator), untrained(settings), (latents, images), strict=True
    ):
        variables = jax.jit(partial(module.init, train=True))(jax.random.key(0), inputs, **told)
        scale = 0.3 if name != "stylegan2" else 1.0
        variables["params"] = jax.tree_util.tree_map_with_path(
            lambda path, leaf, scale=scale: (
                0 * np.asarray(leaf)
                if path[-1].key == "noise_strength"  # what is drawn is not the same
                else np.asarray(scale * rng.standard_normal(leaf.shape), np.float32)
                * (100 if any("dense_" in part.key for part in path) else 1)
            ),
            variables["params"],
        )
        if "spectral" in variables:
            variables = with_singular_vectors(variables)
        apply = jax.jit(partial(module.apply, train=True, mutable=["batch_stats", "spectral", "style_average"]))
        ours, _ = apply(variables, inputs, **told)
        for path, layer in of_twin(twin):
            own = variables["params"]
            for part in path:
                own = own[part]
            copy(layer, channels_first(path, own))
        if "constant" in variables["params"]:
            twin.constant.data.copy_(torch.tensor(variables["params"]["constant"]).permute(2, 0, 1)[None])
        fed = torch.tensor(inputs)
        with torch.no_grad():
            made = twin(fed if fed.ndim == 2 else fed.permute(0, 3, 1, 2), *([torch.tensor(labels)] if told else []))
        theirs = made.numpy() if made.ndim == 1 else made.permute(0, 2, 3, 1).numpy()
        assert np.std(theirs) > 1e-2
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.slow
def test_both_sides_are_timed(tmp_path):
    command = [sys.executable, str(EXPERIMENTS / "speed.py"), "--smoke", "--rounds=1", "--blocks=2", "--block-s=0.01"]
    command += ["--batch=4", f"--only={','.join(NAMES)}", "--contenders=jgr,eager", f"--out={tmp_path / 'out'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert not [line["error"] for line in lines if "error" in line]
    assert {(line["row"], line["side"]) for line in lines} == {
        (name, side) for name in ("matmul", *NAMES) for side in ("jgr", "torch")
    }
