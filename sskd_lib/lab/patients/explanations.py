"""What each mistake of the clinic does, by which signs it is known, and the line of code that decides."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One mistake. signs: by which it is known, the first one first; file, line: the kit's right version."""

    mechanism: str
    signs: tuple[str, ...]
    file: str
    line: str


def _lines(text: str) -> str:
    return " ".join(textwrap.dedent(text).split())


EXPLANATIONS: dict[str, Explanation] = {
    "no tau squared": Explanation(
        mechanism=_lines("""
            Softening divides the logits by τ, and the KL divergence gets smaller by about τ². The factor τ²
            takes this back. Without it L_kd and L_T (τ = 4) are 16 times too small, and L_ss (τ = 0.5) is 4
            times too large.
        """),
        signs=("first kd", "first tf", "first ss"),
        file="sskd_lib/losses/kd.py",
        line="rows = temperature**2 * F.kl_div(",
    ),
    "KL turned round": Explanation(
        mechanism=_lines("""
            KL(teacher ‖ student) is a mean over the teacher's probabilities. Turned round, it is a mean over
            the student's. Then a class that the student leaves out costs little, even if the teacher gives it
            some probability. Both are 0 at the same place, so the curves look usual. Only the same step,
            computed both ways, shows it.
        """),
        signs=("first kd", "first ce"),
        file="sskd_lib/losses/kd.py",
        line='F.kl_div(log_p, log_q, reduction="none", log_target=True)',
    ),
    "worst rows kept": Explanation(
        mechanism=_lines("""
            The rows are put in order of the error rank, and the first ones are kept. In the wrong order the
            rows that the teacher has most wrong are kept, and rows that it has right are dropped. L_T keeps
            all rows in this recipe, so only L_ss changes. This teacher has most rows right, so few rows
            change.
        """),
        signs=("dropped", "first ss"),
        file="sskd_lib/losses/sskd.py",
        line="place = rank.argsort(stable=True).argsort()",
    ),
    "teacher in train mode": Explanation(
        mechanism=_lines("""
            In train mode BatchNorm takes mean and variance of the batch. So the teacher's answer to an image
            depends on the other images of the batch, and turned ones are among them.
        """),
        signs=("repeats", "first kd"),
        file="sskd_lib/training/prepare.py",
        line="placed = runtime.place(teacher).eval()",
    ),
    "padding after normalising": Explanation(
        mechanism=_lines("""
            Zeros around normalised pixels are a frame of the mean grey around the image. Where a crop shifts
            the image, both networks see a grey bar that no test image has.
        """),
        signs=("border", "first ce"),
        file="sskd_lib/data/views.py",
        line="return F.pad(images, (PADDING,) * 4) if window is None else images",
    ),
    "views shifted by one": Explanation(
        mechanism=_lines("""
            Each turned view of the student is compared with the teacher's answer to the same image in another
            turn. Upright views still fit, so L_ce and L_kd start as in a healthy run. L_T and L_ss ask for
            the answer to a picture that the student does not see, so L_T stays high.
        """),
        signs=("matching", "first tf"),
        file="sskd_lib/training/step.py",
        line="teacher_output = teacher(views, maps=needs.teacher_maps)",
    ),
    "two student forwards": Explanation(
        mechanism=_lines("""
            In two forward passes BatchNorm normalises upright and turned views apart, each with a mean and a
            variance of their own. In one pass it sees all four views together. At the first step the
            difference is far below one percent, but with the same seed there should be none.
        """),
        signs=("alone", "first ce"),
        file="sskd_lib/training/step.py",
        line="output = state.model(views, maps=state.method.needs.maps)",
    ),
    "learning rate x10": Explanation(
        mechanism=_lines("""
            The first loss is computed before the first update, so it is the healthy one. After that each step
            is ten times as long for the same gradient.
        """),
        signs=("moved",),
        file="sskd_lib/recipes.py",
        line="SHORT = Schedule(epochs=20, batch_size=16, lr=0.05",
    ),
}
