"""docs/by_hand.md: every number of the worked step, by the library's functions from the page's own inputs."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.documents import page
from sskd_lib.losses import error_rank, kd_loss, similarity_matrix, soften, transfer_mask

LABELS = {"shirt": 0, "coat": 1, "sandal": 2}
OWN = torch.arange(3)


def inputs() -> dict[str, Tensor]:
    """Read the page's first table: labels, logits and projections of six rows."""
    rows = re.findall(r"^\| \d′? \| (.*) \|$", page("docs/by_hand.md"), re.MULTILINE)
    cells = [row.split(" | ") for row in rows]
    assert len(cells) == 6
    found = {"labels": torch.tensor([LABELS[row[1]] for row in cells[:3]])}
    assert [LABELS[row[1]] for row in cells[3:]] == found["labels"].tolist()
    names = ("teacher logits", "student logits", "teacher projection", "student projection")
    for column, name in enumerate(names, start=2):
        numbers = [[float(n) for n in row[column].strip("()").split(",")] for row in cells]
        found[name] = torch.tensor(numbers, dtype=torch.float64)
    return found


def solution() -> dict[int, str]:
    """Return the steps of the solution by number."""
    text = page("docs/by_hand.md").split("## Solution")[1].split("**Think.**")[0]
    parts = re.split(r"^(\d)\. ", text, flags=re.MULTILINE)[1:]
    return {int(number): words for number, words in zip(parts[::2], parts[1::2], strict=True)}


def shown(values: Tensor, digits: int = 3) -> list[str]:
    return [f"{value:.{digits}f}" for value in values.flatten().tolist()]


def decimals(text: str) -> list[str]:
    return re.findall(r"[+-]?\d+\.\d{2,}", text)


@pytest.fixture
def terms() -> dict[str, Tensor]:
    """The four terms; the student's upright logits want a gradient."""
    given = inputs()
    student = given["student logits"].requires_grad_()
    teacher = given["teacher logits"]
    right = transfer_mask(teacher[3:], given["labels"], 0.5)
    cosines = [
        similarity_matrix(given[f"{who} projection"][3:], given[f"{who} projection"][:3])
        for who in ("teacher", "student")
    ]
    kept = transfer_mask(cosines[0], OWN, 0.5)
    assert right.tolist() == kept.tolist() == [True, True, False]
    return {
        "student": student,
        "ce": F.cross_entropy(student[:3], given["labels"]),
        "kd": kd_loss(student[:3], teacher[:3], 4.0),
        "tf": kd_loss(student[3:][right], teacher[3:][right], 4.0),
        "ss": kd_loss(cosines[1][kept], cosines[0][kept], 0.5),
    }


def test_softened_rows_and_cross_entropy(terms):
    given = inputs()
    teacher, student = (soften(given[f"{who} logits"], 4.0) for who in ("teacher", "student"))
    rows = torch.stack([teacher[0], teacher[2], student[0], student[1]])
    assert decimals(solution()[1]) == shown(rows)
    p = soften(given["student logits"][:3], 1.0).diagonal()
    assert decimals(solution()[2]) == [*shown(p[:2]), *shown(p[:2]), f"{terms['ce'].item():.3f}"]
    torch.testing.assert_close(p[1], p[2])


def test_soft_targets(terms):
    given = inputs()
    rows = [
        kd_loss(s[None], t[None], 4.0) / 16
        for s, t in zip(given["student logits"], given["teacher logits"], strict=True)
    ]
    sums = shown(torch.stack(rows), 4)
    assert decimals(solution()[3]) == [*sums[:3], f"{terms['kd'].item():.3f}"]
    assert decimals(solution()[4]) == [*sums[3:5], f"{terms['tf'].item():.3f}"]
    assert error_rank(given["teacher logits"][3:], given["labels"]).tolist() == [0, 1, 2]


def test_similarities(terms):
    given = inputs()
    teacher, student = (
        similarity_matrix(given[f"{who} projection"][3:], given[f"{who} projection"][:3])
        for who in ("teacher", "student")
    )
    assert decimals(solution()[5]) == [*shown(teacher, 2), *shown(student[:2])]
    ranks = re.findall(r"\| (\d) \|$", solution()[5], re.MULTILINE)
    assert [int(rank) for rank in ranks] == error_rank(teacher, OWN).tolist()
    softened = [soften(matrix[:2], 0.5) for matrix in (teacher, student)]
    sums = [kd_loss(s[None], t[None], 0.5) / 0.25 for s, t in zip(student[:2], teacher[:2], strict=True)]
    expected = [*shown(torch.stack(softened)), *shown(torch.stack(sums), 4), f"{terms['ss'].item():.4f}"]
    assert decimals(solution()[6]) == expected


def test_the_sum_and_the_pull(terms):
    weights = {"ce": 0.1, "kd": 0.9, "tf": 2.7, "ss": 10.0}
    total = sum(weight * terms[name] for name, weight in weights.items())
    total.backward()
    pull = -terms["student"].grad[0]
    values = [f"{terms[name].item():.{4 if name == 'ss' else 3}f}" for name in weights]
    assert [n for n in decimals(solution()[7]) if n[0] not in "+-"] == [*values, f"{total.item():.3f}"]
    assert re.findall(r"[+-]\d\.\d{3}", solution()[7]) == [f"{value:+.3f}" for value in pull.tolist()]
    shares = [f"{weights[name] * terms[name].item():.2f}" for name in ("tf", "kd", "ss", "ce")]
    assert re.findall(r"\((\d\.\d\d)\)", page("docs/by_hand.md")) == shares
