"""HSAKD: the student imitates, at every stage, what the teacher says of class and angle together.

Source: Yang et al. 2021, "Hierarchical Self-supervised Augmented Knowledge Distillation" (arXiv 2107.13715);
the sum of terms is that of its published code. Its auxiliary classifiers copy the later stages whole and all
views share one crop; here one convolution stands for each later stage (heads.StageClassifiers), and each view
has its own crop, as in SSKD.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..models.heads import StageClassifiers
from ..models.network import Output
from .kd import kl_rows
from .method import PairOutputs


class HSAKD(nn.Module):
    """L = Σ_l τ² KL(q_T,l ‖ q_S,l) + τ² KL(p_T ‖ p_S), each a mean over all four views of the images.

    q_l: softened probabilities of class and angle together (4K of them) after stage l, from the teacher's
    head for the task "joint" and from auxiliary classifiers of the student's own; p: of the classes alone.
    The stages are those that both networks have, counted from the first.
    Raises ValueError if the teacher has no such head.
    """

    def __init__(self, pair: PairOutputs, temperature: float = 3.0) -> None:
        super().__init__()
        taught = pair.teacher.projection
        if taught is None or taught.dim() != 3:
            raise ValueError(
                "HSAKD imitates a teacher's head for the task 'joint'; make one with train_head(teacher, …, "
                "task='joint')."
            )
        self.temperature = temperature
        stages = [list(m.shape[1:]) for m in pair.student.maps[1:]]
        self.auxiliary = StageClassifiers(stages, taught.shape[2])

    def forward(self, student: Output, teacher: Output, labels: Tensor, index: Tensor) -> Tensor:
        joint = zip(self.auxiliary(student.maps).unbind(1), teacher.projection.unbind(1), strict=False)
        pairs = [*joint, (student.logits, teacher.logits)]
        return sum(kl_rows(s, t, self.temperature).mean() for s, t in pairs)
