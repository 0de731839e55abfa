"""The Inception network of FID in PyTorch, as functions of a state dict with the published names.

Written from the published architecture (Szegedy et al. 2016, figures 5 to 7, and the graph of 2015-12-05), apart from
jgr's: every layer's padding is spelt out, and batch norm is torch's own.
"""

import numpy as np

# name: (output channels, input channels, kernel height, kernel width)
LAYERS = {
    "Conv2d_1a_3x3": (32, 3, 3, 3),
    "Conv2d_2a_3x3": (32, 32, 3, 3),
    "Conv2d_2b_3x3": (64, 32, 3, 3),
    "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
}
for _block, _inputs, _pool in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
    LAYERS |= {
        f"Mixed_{_block}.branch1x1": (64, _inputs, 1, 1),
        f"Mixed_{_block}.branch5x5_1": (48, _inputs, 1, 1),
        f"Mixed_{_block}.branch5x5_2": (64, 48, 5, 5),
        f"Mixed_{_block}.branch3x3dbl_1": (64, _inputs, 1, 1),
        f"Mixed_{_block}.branch3x3dbl_2": (96, 64, 3, 3),
        f"Mixed_{_block}.branch3x3dbl_3": (96, 96, 3, 3),
        f"Mixed_{_block}.branch_pool": (_pool, _inputs, 1, 1),
    }
LAYERS |= {
    "Mixed_6a.branch3x3": (384, 288, 3, 3),
    "Mixed_6a.branch3x3dbl_1": (64, 288, 1, 1),
    "Mixed_6a.branch3x3dbl_2": (96, 64, 3, 3),
    "Mixed_6a.branch3x3dbl_3": (96, 96, 3, 3),
}
for _block, _width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
    LAYERS |= {
        f"Mixed_{_block}.branch1x1": (192, 768, 1, 1),
        f"Mixed_{_block}.branch7x7_1": (_width, 768, 1, 1),
        f"Mixed_{_block}.branch7x7_2": (_width, _width, 1, 7),
        f"Mixed_{_block}.branch7x7_3": (192, _width, 7, 1),
        f"Mixed_{_block}.branch7x7dbl_1": (_width, 768, 1, 1),
        f"Mixed_{_block}.branch7x7dbl_2": (_width, _width, 7, 1),
        f"Mixed_{_block}.branch7x7dbl_3": (_width, _width, 1, 7),
        f"Mixed_{_block}.branch7x7dbl_4": (_width, _width, 7, 1),
        f"Mixed_{_block}.branch7x7dbl_5": (192, _width, 1, 7),
        f"Mixed_{_block}.branch_pool": (192, 768, 1, 1),
    }
LAYERS |= {
    "Mixed_7a.branch3x3_1": (192, 768, 1, 1),
    "Mixed_7a.branch3x3_2": (320, 192, 3, 3),
    "Mixed_7a.branch7x7x3_1": (192, 768, 1, 1),
    "Mixed_7a.branch7x7x3_2": (192, 192, 1, 7),
    "Mixed_7a.branch7x7x3_3": (192, 192, 7, 1),
    "Mixed_7a.branch7x7x3_4": (192, 192, 3, 3),
}
for _block, _inputs in (("7b", 1280), ("7c", 2048)):
    LAYERS |= {
        f"Mixed_{_block}.branch1x1": (320, _inputs, 1, 1),
        f"Mixed_{_block}.branch3x3_1": (384, _inputs, 1, 1),
        f"Mixed_{_block}.branch3x3_2a": (384, 384, 1, 3),
        f"Mixed_{_block}.branch3x3_2b": (384, 384, 3, 1),
        f"Mixed_{_block}.branch3x3dbl_1": (448, _inputs, 1, 1),
        f"Mixed_{_block}.branch3x3dbl_2": (384, 448, 3, 3),
        f"Mixed_{_block}.branch3x3dbl_3a": (384, 384, 1, 3),
        f"Mixed_{_block}.branch3x3dbl_3b": (384, 384, 3, 1),
        f"Mixed_{_block}.branch_pool": (192, _inputs, 1, 1),
    }


def random_weights(seed: int) -> dict[str, np.ndarray]:
    """A state dict of random numbers under which signals neither fade nor grow; needs no torch."""
    random = np.random.RandomState(seed)  # its streams are frozen (NEP 19), as goldens need

    def uniform(low, high, shape):
        return (low + (high - low) * random.random_sample(shape)).astype(np.float32)

    weights = {}
    for name, shape in LAYERS.items():
        bound = np.sqrt(6 / np.prod(shape[1:]))
        weights |= {
            f"{name}.conv.weight": uniform(-bound, bound, shape),
            f"{name}.bn.weight": uniform(0.5, 1.5, shape[0]),
            f"{name}.bn.bias": uniform(-0.3, 0.3, shape[0]),
            f"{name}.bn.running_mean": uniform(-0.3, 0.3, shape[0]),
            f"{name}.bn.running_var": uniform(0.5, 1.5, shape[0]),
        }
    return weights | {"fc.weight": uniform(-0.04, 0.04, (1008, 2048)), "fc.bias": uniform(-1, 1, 1008)}


def random_image(seed: int) -> np.ndarray:
    """One normalised image, float32 [1, 299, 299, 3]."""
    return (2 * np.random.RandomState(seed).random_sample((1, 299, 299, 3)) - 1).astype(np.float32)


def inception(weights: dict[str, np.ndarray], images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features and logits without bias of normalised images [batch, 299, 299, 3]; needs torch."""
    import torch

    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    with torch.no_grad():
        features = _features(tensors, torch.from_numpy(images).permute(0, 3, 1, 2))
        return features.numpy(), (features @ tensors["fc.weight"].T).numpy()


def _features(tensors, x):
    import torch
    from torch.nn import functional

    def layer(name, x, stride=1, padding=0):
        x = functional.conv2d(x, tensors[f"{name}.conv.weight"], stride=stride, padding=padding)
        statistics = tensors[f"{name}.bn.running_mean"], tensors[f"{name}.bn.running_var"]
        affine = tensors[f"{name}.bn.weight"], tensors[f"{name}.bn.bias"]
        return functional.relu(functional.batch_norm(x, *statistics, *affine, training=False, eps=1e-3))

    def halved(x):
        return functional.max_pool2d(x, 3, 2)

    def average(x):
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    x = layer("Conv2d_1a_3x3", x, stride=2)
    x = layer("Conv2d_2a_3x3", x)
    x = halved(layer("Conv2d_2b_3x3", x, padding=1))
    x = layer("Conv2d_3b_1x1", x)
    x = halved(layer("Conv2d_4a_3x3", x))
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        five = layer(f"{block}.branch5x5_2", layer(f"{block}.branch5x5_1", x), padding=2)
        double = layer(f"{block}.branch3x3dbl_2", layer(f"{block}.branch3x3dbl_1", x), padding=1)
        double = layer(f"{block}.branch3x3dbl_3", double, padding=1)
        x = torch.cat([layer(f"{block}.branch1x1", x), five, double, layer(f"{block}.branch_pool", average(x))], 1)
    double = layer("Mixed_6a.branch3x3dbl_2", layer("Mixed_6a.branch3x3dbl_1", x), padding=1)
    double = layer("Mixed_6a.branch3x3dbl_3", double, stride=2)
    x = torch.cat([layer("Mixed_6a.branch3x3", x, stride=2), double, halved(x)], 1)
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        seven = layer(f"{block}.branch7x7_2", layer(f"{block}.branch7x7_1", x), padding=(0, 3))
        seven = layer(f"{block}.branch7x7_3", seven, padding=(3, 0))
        double = layer(f"{block}.branch7x7dbl_2", layer(f"{block}.branch7x7dbl_1", x), padding=(3, 0))
        double = layer(f"{block}.branch7x7dbl_3", double, padding=(0, 3))
        double = layer(f"{block}.branch7x7dbl_4", double, padding=(3, 0))
        double = layer(f"{block}.branch7x7dbl_5", double, padding=(0, 3))
        x = torch.cat([layer(f"{block}.branch1x1", x), seven, double, layer(f"{block}.branch_pool", average(x))], 1)
    three = layer("Mixed_7a.branch3x3_2", layer("Mixed_7a.branch3x3_1", x), stride=2)
    seven = layer("Mixed_7a.branch7x7x3_2", layer("Mixed_7a.branch7x7x3_1", x), padding=(0, 3))
    seven = layer("Mixed_7a.branch7x7x3_3", seven, padding=(3, 0))
    seven = layer("Mixed_7a.branch7x7x3_4", seven, stride=2)
    x = torch.cat([three, seven, halved(x)], 1)
    for block in ("Mixed_7b", "Mixed_7c"):
        three = layer(f"{block}.branch3x3_1", x)
        double = layer(f"{block}.branch3x3dbl_2", layer(f"{block}.branch3x3dbl_1", x), padding=1)
        pooled = average(x) if block == "Mixed_7b" else functional.max_pool2d(x, 3, 1, 1)
        x = torch.cat(
            [
                layer(f"{block}.branch1x1", x),
                layer(f"{block}.branch3x3_2a", three, padding=(0, 1)),
                layer(f"{block}.branch3x3_2b", three, padding=(1, 0)),
                layer(f"{block}.branch3x3dbl_3a", double, padding=(0, 1)),
                layer(f"{block}.branch3x3dbl_3b", double, padding=(1, 0)),
                layer(f"{block}.branch_pool", pooled),
            ],
            1,
        )
    return x.mean((2, 3))
