"""Factor transfer: a paraphraser compresses the teacher's maps, a translator has the student say the same.

Source: Kim, Park, Kwak 2018 (arXiv 1802.04977), section 3. Usual weight: 200, on the last stage, rate k =
0.5; the paraphraser is trained first (30 epochs, on its reconstruction) and then held.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .pairs import precise, same_size, unit


def ft_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare two factors: mean |Q_S / ‖Q_S‖₂ - Q_T / ‖Q_T‖₂|, Q = vec(mean_c F_c²).

    This is the form of the comparisons, which reduces a factor to its attention map first; the paper
    normalises the factor F itself, all channels in one vector, and sums.

    student: float [N, M, H, W] from `Translator`; teacher: float [N, M', H', W'] from `Paraphraser`; of two
    sizes the larger is pooled to the smaller. Returns a scalar, at least float32. Raises ValueError if the
    two do not show the same images.
    """
    factors = same_size(precise(student), precise(teacher.detach()))
    s, t = (unit(factor.square().mean(1).flatten(1)) for factor in factors)
    return F.l1_loss(s, t)


class Paraphraser(nn.Module):
    """An autoencoder of the teacher's maps: float [N, C, H, W] → factor [N, k C, H, W] → the maps again.

    Called, it returns the factor; `reconstruction_loss` is what trains it.
    """

    def __init__(self, channels: int, rate: float = 0.5) -> None:
        super().__init__()
        factors = _factors(channels, rate)
        self.encoder = _stack(nn.Conv2d, (channels, channels, factors, factors), norm=False)
        self.decoder = _stack(nn.ConvTranspose2d, (factors, factors, channels, channels), norm=False)

    def forward(self, maps: Tensor) -> Tensor:
        return self.encoder(maps)

    def reconstruction_loss(self, maps: Tensor) -> Tensor:
        """Mean squared error of the maps rebuilt from their factor; none of it reaches the teacher."""
        maps = maps.detach()
        return F.mse_loss(precise(self.decoder(self.encoder(maps))), precise(maps))


class Translator(nn.Module):
    """The student's side, trained with it, with BatchNorm: float [N, C_S, H, W] → factor [N, k C_T, H, W]."""

    def __init__(self, student_channels: int, teacher_channels: int, rate: float = 0.5) -> None:
        super().__init__()
        factors = _factors(teacher_channels, rate)
        self.encoder = _stack(nn.Conv2d, (student_channels, student_channels, factors, factors), norm=True)

    def forward(self, maps: Tensor) -> Tensor:
        return self.encoder(maps)


def _factors(channels: int, rate: float) -> int:
    factors = int(channels * rate)
    if not factors:
        raise ValueError(
            f"a rate of {rate} leaves no channel of {channels}. Choose {1 / channels:.3g} or more."
        )
    return factors


def _stack(conv: type[nn.Module], widths: tuple[int, ...], *, norm: bool) -> nn.Sequential:
    """3 × 3 convolutions through these widths, each with BatchNorm, if asked for, and a leaky ReLU of 0.1."""
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [conv(before, after, 3, padding=1), *([nn.BatchNorm2d(after)] if norm else [])]
        layers += [nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers)
