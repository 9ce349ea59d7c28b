"""Factor transfer: a paraphraser compresses the teacher's maps, a translator the student's to match.

Source: Kim, Park, Kwak 2018 (arXiv 1802.04977), section 3. Usual weight: 200, on the last stage, rate k =
0.5; the paraphraser is trained first (30 epochs, on its reconstruction) and then kept as it is.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .method import Batch, Output, Term
from .pairs import precise, same_size, unit


def ft_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare two factors: mean |Q_S / ‖Q_S‖₂ - Q_T / ‖Q_T‖₂|, Q = vec(mean_c F_c²).

    This is the form of the comparisons, which reduces a factor to its attention map first; the paper
    normalises the factor F itself, all channels in one vector, and sums.

    student: float [N, M, H, W] of the translator; teacher: float [N, M', H', W'] of the paraphraser; of two
    sizes the larger is pooled to the smaller. Returns a scalar, at least float32. Raises ValueError if the
    two do not show the same images.
    """
    factors = same_size(precise(student), precise(teacher.detach()))
    s, t = (unit(factor.square().mean(1).flatten(1)) for factor in factors)
    return F.l1_loss(s, t)


def _stack(conv: type[nn.Module], widths: tuple[int, ...], *, norm: bool) -> nn.Sequential:
    """3 × 3 convolutions of these widths, each with BatchNorm, if `norm` is set, and a leaky ReLU of 0.1."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [conv(before, after, 3, padding=1), *([nn.BatchNorm2d(after)] if norm else [])]
        layers += [nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers)


class FT(Term):
    """`ft_loss` of the last stage. First the paraphraser is trained, alone, then translator and student.

    Paraphraser and decoder are an autoencoder of the teacher's maps: float [N, C_T, H, W] → factor [N, k C_T,
    H, W] → the maps again. The translator makes such a factor of the student's maps, float [N, C_S, H, W].
    """

    name, inputs, first_stage = "ft", "post_relu", 1 / 8  # 30 of 240 epochs

    def __init__(self, weight: float = 200, rate: float = 0.5) -> None:
        super().__init__(weight)
        self.rate = rate

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make paraphraser and translator. Raises ValueError if the rate leaves no channel."""
        c_s, c_t = (output.maps[-1].shape[1] for output in (student_output, teacher_output))
        factors = int(c_t * self.rate)
        if not factors:
            raise ValueError(
                f"a rate of {self.rate} leaves no channel of {c_t}. Choose {1 / c_t:.3g} or more."
            )
        self.paraphraser = _stack(nn.Conv2d, (c_t, c_t, factors, factors), norm=False)
        self.decoder = _stack(nn.ConvTranspose2d, (factors, factors, c_t, c_t), norm=False)
        self.translator = _stack(nn.Conv2d, (c_s, c_s, factors, factors), norm=True)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the factors of the last stage."""
        return ft_loss(self.translator(student_output.maps[-1]), self.paraphraser(teacher_output.maps[-1]))

    def first_stage_loss(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Return the mean squared error of the teacher's maps, decoded from their factor."""
        maps = teacher_output.maps[-1].detach()
        return F.mse_loss(precise(self.decoder(self.paraphraser(maps))), precise(maps))
