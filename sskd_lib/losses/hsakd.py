"""HSAKD: the student imitates, at every stage, the teacher's answers on class and angle together.

Source: Yang et al. 2021, "Hierarchical Self-supervised Augmented Knowledge Distillation" (arXiv 2107.13715);
the sum of terms is that of its published code. Its auxiliary classifiers copy the later stages whole, and all
views share one crop. Here one convolution replaces each later stage (heads.StageClassifiers), and each view
has its own crop, as in SSKD.
"""

from __future__ import annotations

from torch import Tensor

from ..data.batch import Batch
from ..models.heads import StageClassifiers
from ..models.network import Output
from .kd import kl_rows
from .method import Term, check_stages, shapes
from .pairs import total


class HSAKD(Term):
    """L = Σ_l τ² KL(q_T,l ‖ q_S,l) + τ² KL(p_T ‖ p_S), each a mean over all four views of the images.

    q_l: softened probabilities of class and angle together (4K of them) after stage l, from the teacher's
    head for the task "joint" and from auxiliary classifiers of the student's own; p: of the classes alone.
    The stages are those that both networks have, counted from the first.
    """

    name, inputs, all_views = "hsakd", "post_relu", True

    def __init__(self, weight: float = 1.0, temperature: float = 3.0) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make the student's auxiliary classifiers. Raises ValueError without stages or a joint head."""
        check_stages(student_output, teacher_output)
        answers = teacher_output.projection
        if answers is None or answers.dim() != 3:
            raise ValueError(
                "HSAKD imitates a teacher's head for the task 'joint'; make one with train_head(teacher, …, "
                "task='joint')."
            )
        self.auxiliary = StageClassifiers(shapes(student_output.maps[1:]), answers.shape[2])

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare all rows, stage by stage, and the logits."""
        scores = self.auxiliary(student_output.maps).unbind(1)
        joint = zip(scores, teacher_output.projection.unbind(1), strict=False)
        pairs = [*joint, (student_output.logits, teacher_output.logits)]
        return total(kl_rows(s, t.detach(), self.temperature).mean() for s, t in pairs)
