"""Factor transfer: a paraphraser compresses the teacher's maps, a translator the student's to match.

Source: Kim, Park, Kwak 2018 (arXiv 1802.04977), section 3. Usual weight: 200, on the last stage, rate k =
0.5; the paraphraser is trained first (30 epochs, on its reconstruction) and then kept as it is.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from ..data.batch import Batch
from ..models.network import Output
from .method import Term
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

    It is trained by its `reconstruction_loss`.
    """

    def __init__(self, channels: int, rate: float = 0.5) -> None:
        super().__init__()
        factors = _factors(channels, rate)
        self.encoder = _stack(nn.Conv2d, (channels, channels, factors, factors), norm=False)
        self.decoder = _stack(nn.ConvTranspose2d, (factors, factors, channels, channels), norm=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the factor of float maps [N, C, H, W]."""
        return self.encoder(maps)

    def reconstruction_loss(self, maps: Tensor) -> Tensor:
        """Return the mean squared error of the decoded maps; no gradient reaches the teacher."""
        maps = maps.detach()
        return F.mse_loss(precise(self.decoder(self.encoder(maps))), precise(maps))


class Translator(nn.Module):
    """The student's side, trained with it, with BatchNorm: float [N, C_S, H, W] → factor [N, k C_T, H, W]."""

    def __init__(self, student_channels: int, teacher_channels: int, rate: float = 0.5) -> None:
        super().__init__()
        factors = _factors(teacher_channels, rate)
        self.encoder = _stack(nn.Conv2d, (student_channels, student_channels, factors, factors), norm=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the factor of float maps [N, C_S, H, W]."""
        return self.encoder(maps)


def _factors(channels: int, rate: float) -> int:
    factors = int(channels * rate)
    if not factors:
        raise ValueError(
            f"a rate of {rate} leaves no channel of {channels}. Choose {1 / channels:.3g} or more."
        )
    return factors


def _stack(conv: type[nn.Module], widths: tuple[int, ...], *, norm: bool) -> nn.Sequential:
    """3 × 3 convolutions of these widths, each with BatchNorm, if `norm` is set, and a leaky ReLU of 0.1."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [conv(before, after, 3, padding=1), *([nn.BatchNorm2d(after)] if norm else [])]
        layers += [nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers)


class FT(Term):
    """`ft_loss` of the last stage. First the paraphraser is trained, alone, then translator and student."""

    name, inputs, first_stage = "ft", "post_relu", 1 / 8  # 30 of 240 epochs

    def __init__(self, weight: float = 200, rate: float = 0.5) -> None:
        super().__init__(weight)
        self.rate = rate

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make paraphraser and translator. Raises ValueError if the rate leaves no channel."""
        student, teacher = (output.maps[-1].shape[1] for output in (student_output, teacher_output))
        self.paraphraser = Paraphraser(teacher, self.rate)
        self.translator = Translator(student, teacher, self.rate)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the factors of the last stage."""
        return ft_loss(self.translator(student_output.maps[-1]), self.paraphraser(teacher_output.maps[-1]))

    def first_stage_loss(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Return the paraphraser's reconstruction loss."""
        return self.paraphraser.reconstruction_loss(teacher_output.maps[-1])
