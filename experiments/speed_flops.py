"""Operations of what `experiments/speed.py` measures: two for every multiply-add. Imports neither JAX nor PyTorch."""

import itertools
from collections.abc import Sequence


def dense(*widths: int) -> list[float]:
    """Operations of each layer of a fully connected network, forwards, an image."""
    return [2.0 * a * b for a, b in itertools.pairwise(widths)]


def conv(side: int, kernel: int, channels: int, features: int, groups: int = 1) -> float:
    """Operations of a convolution with `side` x `side` results (of a transposed one: inputs), forwards, an image."""
    return 2.0 * side**2 * kernel**2 * channels * features / groups


def training(layers: Sequence[float]) -> float:
    """Forwards, gradients of the parameters, and of every layer's input but the first's."""
    return 3 * sum(layers) - layers[0]


def gan_training(
    generator: Sequence[float],
    discriminator: Sequence[float],
    num_d_steps: int = 1,
    multiple: int = 1,
    beside: Sequence[float] = (),
) -> float:
    """The discriminator's updates, each on a real and a generated image, then the generator's.

    In the discriminator's updates the generator runs forwards only; in the generator's, the discriminator runs forwards
    and gives the gradient of its input, not of its parameters.

    Args:
        generator: Layers.
        discriminator: Layers between image and logit.
        num_d_steps: Updates of the discriminator.
        multiple: Images in the generator's update.
        beside: Further layers of the discriminator, which do not see the image.
    """
    judged = 2 * training(discriminator) + (2 * training(beside) if beside else 0)
    answered = training(generator) + 2 * sum(discriminator) + sum(beside)
    return num_d_steps * (sum(generator) + judged) + multiple * answered


def dcgan(side: int, channels: int, levels: Sequence[int]) -> float:
    """Of a step of `jgr.models.dcgan`, an image."""
    sides = [side >> level for level in range(len(levels) + 1)]  # of the image and of every level
    coarsest = sides[-1] ** 2 * levels[-1]
    widths = [channels, *levels]
    convolutions = [conv(sides[i + 1], 4, widths[i], widths[i + 1]) for i in range(len(levels))]
    return gan_training(dense(100, coarsest) + convolutions[::-1], convolutions + dense(coarsest, 1))


# Layers of the GANs' networks, forwards, an image; the first is the one that needs no gradient of its input. What
# spectral normalisation multiplies does not depend on the batch, and does not count.


def sngan_generator(image_size: int, channels: int, latent_dim: int, width: int, max_width: int = 512) -> list[float]:
    """`jgr.models.sngan.Generator`."""
    widths = _level_widths(image_size, width, max_width)
    pairs = reversed(list(enumerate(itertools.pairwise(widths), start=1)))
    doubled = [conv(image_size >> level, 4, high, low) for level, (low, high) in pairs]
    return [*dense(latent_dim, _coarsest(image_size, widths)), *doubled, conv(image_size, 3, width, channels)]


def sngan_discriminator(image_size: int, channels: int, width: int, max_width: int = 512) -> list[float]:
    """`jgr.models.sngan.Discriminator`."""
    widths, layers = _level_widths(image_size, width, max_width), [conv(image_size, 3, channels, width)]
    for level, (low, high) in enumerate(itertools.pairwise(widths), start=1):
        layers += [conv(image_size >> level, 4, low, high), conv(image_size >> level, 3, high, high)]
    return layers + dense(_coarsest(image_size, widths), 1)


def resnet_generator(image_size: int, channels: int, latent_dim: int, widths: Sequence[int]) -> list[float]:
    """`jgr.models.resnet_gan.Generator`, unconditional."""
    side = image_size >> (len(widths) - 1)
    layers = dense(latent_dim, side**2 * widths[0])
    for low, high in itertools.pairwise(widths):
        layers += [conv(side, 1, low, high), conv(2 * side, 3, low, high), conv(2 * side, 3, high, high)]
        side *= 2
    return [*layers, conv(image_size, 3, widths[-1], channels)]


def resnet_discriminator(image_size: int, channels: int, widths: Sequence[int], num_down: int) -> list[float]:
    """`jgr.models.resnet_gan.Discriminator`; the first convolution and the first shortcut see the image."""
    side, layers = image_size, []
    for number, (low, high) in enumerate(itertools.pairwise([channels, *widths])):
        after = side // 2 if number < num_down else side
        shortcut = conv(after, 1, low, high) if after < side or low != high else 0.0
        layers += [conv(side, 3, low, high) + shortcut, conv(side, 3, high, high)]
        side = after
    return layers + dense(widths[-1], 1)


def stylegan2_generator(
    image_size: int,
    channels: int,
    latent_dim: int,
    style_dim: int,
    mapping_layers: int,
    width: int,
    max_width: int,
    num_classes: int,
    enlarged_first: bool = False,
) -> list[float]:
    """`jgr.models.stylegan2.Generator` with labels.

    A convolution that doubles the sides may be a transposed one, filtered then, or one of the images that were enlarged
    and filtered before, `enlarged_first`: the same, with four times the operations.
    """
    widths = _level_widths(image_size, width, max_width)[::-1]
    layers = dense(num_classes, style_dim) + dense(latent_dim + style_dim, *[style_dim] * mapping_layers)

    def modulated(side: int, low: int, high: int) -> None:
        layers.extend([*dense(style_dim, low), conv(side, 3, low, high), *dense(low, high)])  # the last: demodulation

    for level, (low, high) in enumerate(zip([widths[0], *widths], widths, strict=False)):
        side = image_size >> (len(widths) - 1 - level)
        if level:
            modulated(side if enlarged_first else side // 2, low, high)
        modulated(side, high, high)
        layers.extend([*dense(style_dim, high), conv(side, 1, high, channels)])
    return layers


def stylegan2_discriminator(image_size: int, channels: int, width: int, max_width: int, **_: int) -> list[float]:
    """`jgr.models.stylegan2.Discriminator` that is not residual, without the layers of labels."""
    widths, layers = _level_widths(image_size, width, max_width), [conv(image_size, 1, channels, width)]
    for level, (low, high) in enumerate(itertools.pairwise(widths), start=1):
        layers += [conv(image_size >> (level - 1), 3, low, low), conv(image_size >> level, 3, low, high)]
    last, side = widths[-1], image_size >> (len(widths) - 1)
    return [*layers, conv(side, 3, last + 1, last), *dense(side**2 * last, last, last)]


def stylegan2_labels(
    image_size: int, width: int, max_width: int, num_classes: int, mapping_layers: int, **_: int
) -> list[float]:
    """The layers of labels of `jgr.models.stylegan2.Discriminator`."""
    last = _level_widths(image_size, width, max_width)[-1]
    return dense(num_classes, *[last] * (mapping_layers + 1))


def _level_widths(image_size: int, width: int, max_width: int) -> list[int]:
    """Channels of every level, the finest first; the coarsest has 4 to 7 pixels a side."""
    return [min(width << level, max_width) for level in range((image_size // 4).bit_length())]


def _coarsest(image_size: int, widths: Sequence[int]) -> int:
    return (image_size >> (len(widths) - 1)) ** 2 * widths[-1]


# Layers of the networks for restoration, forwards, an image; the first is the one that needs no gradient of its input.


def dncnn(side: int, channels: int, depth: int, width: int) -> list[float]:
    """`jgr.models.dncnn.DnCNN`."""
    widths = [channels, *[width] * (depth - 1), channels]
    return [conv(side, 3, low, high) for low, high in itertools.pairwise(widths)]


def ffdnet(side: int, channels: int, depth: int, width: int) -> list[float]:
    """`jgr.models.ffdnet.FFDNet` with a map of the noise."""
    widths = [4 * channels + 1, *[width] * (depth - 1), 4 * channels]
    return [conv(side // 2, 3, low, high) for low, high in itertools.pairwise(widths)]


def drunet(side: int, channels: int, width: int, levels: int, blocks: int) -> list[float]:
    """`jgr.models.unet.DRUNet` with a map of the noise."""
    layers = [conv(side, 3, channels + 1, width), conv(side, 3, width, channels)]
    for level in range(levels):
        fine, here = width << level, side >> level
        ways = 1 if level == levels - 1 else 2
        layers.append(ways * blocks * 2 * conv(here, 3, fine, fine))
        if ways == 2:
            layers.append(2 * conv(here // 2, 2, fine, 2 * fine))
    return layers


def edsr(side: int, scale: int, channels: int, width: int, blocks: int) -> list[float]:
    """`jgr.models.edsr.EDSR`, enlarging by a power of two."""
    layers = [conv(side, 3, channels, width), (2 * blocks + 1) * conv(side, 3, width, width)]
    return [*layers, *_enlargements(side, scale, width), conv(scale * side, 3, width, channels)]


def srresnet(side: int, scale: int, channels: int, width: int, blocks: int) -> list[float]:
    """`jgr.models.edsr.SRResNet`, enlarging by a power of two."""
    layers = [conv(side, 9, channels, width), (2 * blocks + 1) * conv(side, 3, width, width)]
    return [*layers, *_enlargements(side, scale, width), conv(scale * side, 9, width, channels)]


def _enlargements(side: int, scale: int, width: int) -> list[float]:
    return [conv(side << number, 3, width, 4 * width) for number in range(scale.bit_length() - 1)]


def nafnet(
    side: int,
    channels: int,
    width: int,
    encoder_blocks: Sequence[int],
    middle_blocks: int,
    decoder_blocks: Sequence[int],
) -> list[float]:
    """`jgr.models.nafnet.NAFNet`."""

    def block(level: int) -> float:
        fine, here = width << level, side >> level
        matrices = 6 * conv(here, 1, fine, fine) + conv(1, 1, fine, fine)  # the attention's is of a mean
        return matrices + conv(here, 3, 2 * fine, 2 * fine, 2 * fine)

    layers = [conv(side, 3, channels, width), conv(side, 3, width, channels)]
    for level, (down, up) in enumerate(zip(encoder_blocks, reversed(decoder_blocks), strict=True)):
        fine, half = width << level, side >> (level + 1)
        layers.append((down + up) * block(level))
        layers += [conv(half, 2, fine, 2 * fine), conv(half, 1, 2 * fine, 4 * fine)]
    return [*layers, middle_blocks * block(len(encoder_blocks))]


def restormer(
    side: int,
    channels: int,
    width: int,
    blocks: Sequence[int],
    refinement_blocks: int,
    heads: Sequence[int],
    expansion: float,
) -> list[float]:
    """`jgr.models.restormer.Restormer`, of two levels at least."""

    def block(level: int, wide: int) -> float:
        here, between = side >> level, int(expansion * wide)
        attention = 4 * conv(here, 1, wide, wide) + conv(here, 3, 3 * wide, 3 * wide, 3 * wide)
        attention += 2 * conv(here, 1, wide, wide, heads[level])  # keys by queries, weights by values
        feed_forward = 3 * conv(here, 1, wide, between) + conv(here, 3, 2 * between, 2 * between, 2 * between)
        return attention + feed_forward

    layers, coarsest = [conv(side, 3, channels, width)], len(blocks) - 1
    for level, count in enumerate(blocks[:-1]):
        fine, here = width << level, side >> level
        layers += [conv(here, 3, fine, fine // 2), conv(here // 2, 3, 2 * fine, 4 * fine)]
        if level:
            layers.append(conv(here, 1, 2 * fine, fine))
        layers.append(count * (block(level, fine) + block(level, fine if level else 2 * fine)))
    layers.append(blocks[-1] * block(coarsest, width << coarsest))
    return [*layers, refinement_blocks * block(0, 2 * width), conv(side, 3, 2 * width, channels)]


def prenet(side: int, channels: int, width: int, stages: int, blocks: int) -> list[float]:
    """`jgr.models.prenet.PReNet` with an LSTM; only the first stage's input needs no gradient."""
    stage = [conv(side, 3, 2 * channels, width), conv(side, 3, 2 * width, 4 * width)]
    stage += [2 * blocks * conv(side, 3, width, width), conv(side, 3, width, channels)]
    return stages * stage


def encoder_decoder(side: int, channels: int, widths: Sequence[int], bottleneck: int) -> list[float]:
    """`jgr.models.encoder_decoder.EncoderDecoder` of patches as large as the images."""
    above = [*widths[1:], widths[-1]]
    down = [conv(side >> level, 3, *pair) for level, pair in enumerate(itertools.pairwise([channels, *widths]))]
    up = [conv(side >> level, 3, *pair) for level, pair in enumerate(zip(above, widths, strict=True))]
    features = (side >> len(widths)) ** 2 * widths[-1]
    return [*down, *dense(features, bottleneck, features), *up, conv(side, 3, widths[0], channels)]
