"""Answers to the four terms and their sum, as a student may write them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from sskd_lib.losses import error_rank, kd_loss, similarity_matrix, transfer_mask


def ce_loops(logits, labels):
    total = 0
    for row, label in zip(logits, labels):  # noqa: B905
        total = total + torch.logsumexp(row, 0) - row[label]
    return total / len(labels)


def kl(s, t, tau, reduction="batchmean"):
    return F.kl_div(F.log_softmax(s / tau, 1), F.softmax(t.detach() / tau, 1), reduction=reduction)


def quarter(x):
    return x.chunk(4)[0]


def kd_loops(student, teacher, tau):
    total = 0
    for i in range(len(student) // 4):
        q = torch.softmax(teacher[i].detach() / tau, 0)
        total = total + torch.sum(q * (torch.log(q) - torch.log_softmax(student[i] / tau, 0)))
    return tau**2 * total / (len(student) / 4)


def down_the_columns(student, teacher, tau):
    p, q = (quarter(x) / tau for x in (student, teacher))
    p, q = p.exp() / p.exp().sum(0), q.exp() / q.exp().sum(0)
    return tau**2 * (q * (q / p).log()).sum(1).mean()


def tf(student, teacher, labels, tau, share, mask=None, average=None):
    """The term with another mask or another mean."""
    b = len(labels)
    s, t = student[b:], teacher[b:].detach()
    keep = transfer_mask(t, labels.repeat(3), share) if mask is None else mask(s, t, labels, share)
    rows = tau**2 * (F.softmax(t / tau, 1) * (F.log_softmax(t / tau, 1) - F.log_softmax(s / tau, 1))).sum(1)
    return rows[keep].mean() if average is None else average(rows, keep)


def kept_by(rank, keep):
    """A mask of the first rows in the order of a list of ranks."""
    order = sorted(range(len(rank)), key=lambda row: float(rank[row]))
    mask = torch.zeros(len(rank), dtype=torch.bool)
    mask[order[:keep]] = True
    return mask


def least_wrong(scores, targets, share):
    rank = error_rank(scores, targets)
    right = int((rank == 0).sum())
    return rank, right, right + math.floor(share * (len(rank) - right))


def worst(s, t, labels, share):
    rank, _, keep = least_wrong(t, labels.repeat(3), share)
    return kept_by([float(r) and 1 / float(r) for r in rank], keep)


def of_all(s, t, labels, share):
    return kept_by(error_rank(t, labels.repeat(3)), int(share * len(t)))


def ss(student, teacher, tau, share, mask=None, matrix=similarity_matrix, cut=torch.detach):
    b = len(student) // 4
    s, t = matrix(student[b:], student[:b]), cut(matrix(teacher[b:], teacher[:b]))
    columns = torch.arange(len(s)) % b
    keep = transfer_mask(t, columns, share) if mask is None else mask(s, t, columns, share)
    return kd_loss(s[keep], t[keep], tau)


def ss_loops(student, teacher, tau, share):
    b = len(student) // 4
    s = F.normalize(student[b:]) @ F.normalize(student[:b]).T
    t = (F.normalize(teacher[b:]) @ F.normalize(teacher[:b]).T).detach()
    rank, _, keep = least_wrong(t, torch.tensor([r % b for r in range(3 * b)]), share)
    rows = sorted(range(3 * b), key=lambda r: int(rank[r]))[:keep]
    return sum(tau**2 * kl(s[r : r + 1], t[r : r + 1], tau) for r in rows) / len(rows)


def ss_columns(student, teacher, tau, share):
    b = len(student) // 4
    s, t = (similarity_matrix(z[b:], z[:b]) for z in (student, teacher))
    keep = transfer_mask(t, torch.arange(b).repeat(3), share)
    p, q = torch.softmax(s / tau, 0), torch.softmax(t / tau, 0)
    return tau**2 * (q * (q / p).log()).sum(1)[keep].mean()


def ss_turned_round(student, teacher, tau, share):
    b = len(student) // 4
    s, t = (similarity_matrix(z[b:], z[:b]) for z in (student, teacher))
    keep = transfer_mask(t, torch.arange(b).repeat(3), share)
    return kd_loss(t[keep], s[keep], tau)


def ss_labels(student, teacher, tau, share):
    b = len(student) // 4
    s, t = (similarity_matrix(z[b:], z[:b]) for z in (student, teacher))
    columns = torch.arange(b).repeat(3)
    keep = transfer_mask(t, columns, share)
    return F.cross_entropy(s[keep] / tau, columns[keep])


def add_up(terms, weights):
    total = 0.0
    for name in ("ce", "kd", "tf", "ss"):
        total += terms[name] * weights[name]
    return total


def turned_round(s, t, y, tau, share):
    keep = transfer_mask(t[len(y) :], y.repeat(3), share)
    return kd_loss(t[len(y) :][keep], s[len(y) :][keep], tau)


def all_rows(s, t, y, tau, share):
    keep = transfer_mask(t, y.repeat(4), share)
    return kd_loss(s[keep], t[keep], tau)


WRONG = {
    "ce_term": {
        "all views": lambda z, y: F.cross_entropy(z, torch.cat([y, y, y, y])),
        "all views, labels image by image": lambda z, y: ce_loops(z, y.tile(4, 1).T.flatten()),
        "every fourth row": lambda z, y: ce_loops(z[range(0, len(z), 4)], y),
        "views at 270°": lambda z, y: ce_loops(z.chunk(4)[3], y),
        "rotated views": lambda z, y: F.cross_entropy(z[len(y) :], torch.cat([y] * 3)),
        "sum over images": lambda z, y: F.cross_entropy(z[: len(y)], y, reduction="sum"),
        "divided by 4B": lambda z, y: ce_loops(z, y) * len(y) / len(z),
        "softmax twice": lambda z, y: ce_loops(torch.softmax(z, -1), y),
        "softmax over the wrong axis": lambda z, y: ce_loops(z[: len(y)] - z[: len(y)].logsumexp(0), y) * 0
        - torch.softmax(z[: len(y)], 0)[range(len(y)), y].log().mean(),
        "wrong sign": lambda z, y: -F.cross_entropy(z[: len(y)], y),
        "no gradient": lambda z, y: ce_loops(z.tolist() and z.detach(), y),
    },
    "kd_term": {
        "all views": lambda s, t, tau: kd_loss(s, t, tau),
        "every fourth row": lambda s, t, tau: kd_loss(s[::4], t[::4], tau),
        "rotated views": lambda s, t, tau: kd_loss(s[len(s) // 4 :], t[len(t) // 4 :], tau),
        "divided by 4B": lambda s, t, tau: tau**2 * kl(quarter(s), quarter(t), tau, "sum") / len(s),
        "τ² forgotten": lambda s, t, tau: kl(quarter(s), quarter(t), tau),
        "KL turned round": lambda s, t, tau: tau**2 * kl(quarter(t), quarter(s), tau),
        "mean over classes too": lambda s, t, tau: tau**2 * kl(quarter(s), quarter(t), tau, "none").mean(),
        "sum over images": lambda s, t, tau: tau**2 * kl(quarter(s), quarter(t), tau, "sum"),
        "softmax over the wrong axis": down_the_columns,
        "cross-entropy instead of KL": lambda s, t, tau: tau**2
        * F.cross_entropy(quarter(s) / tau, F.softmax(quarter(t) / tau, 1)),
        "teacher not detached": lambda s, t, tau: kd_loss(quarter(s), quarter(t), tau),
        "no gradient": lambda s, t, tau: kd_loss(quarter(s), quarter(t), tau).item(),
    },
    "tf_term": {
        "no selection": lambda s, t, y, tau, share: kd_loss(s[len(y) :], t[len(y) :], tau),
        "selected by the student": lambda *a: tf(
            *a, mask=lambda s, t, y, share: transfer_mask(s, y.repeat(3), share)
        ),
        "keeps the worst": lambda *a: tf(*a, mask=worst),
        "ratio as a share of all rows": lambda *a: tf(*a, mask=of_all),
        "right rows only": lambda *a: tf(*a, mask=lambda s, t, y, share: t.argmax(1) == y.repeat(3)),
        "mean over all rows": lambda *a: tf(*a, average=lambda rows, keep: (rows * keep).mean()),
        "KL turned round": turned_round,
        "labels image by image": lambda *a: tf(
            *a, mask=lambda s, t, y, share: transfer_mask(t, y.repeat_interleave(3), share)
        ),
        "upright rows too": all_rows,
        "τ² forgotten": lambda s, t, y, tau, share: tf(s, t, y, tau, share) / tau / tau,
        "teacher not detached": lambda s, t, y, tau, share: kd_loss(
            *(x[len(y) :][transfer_mask(t[len(y) :], y.repeat(3), share)] for x in (s, t)), tau
        ),
        "no gradient": lambda *a: tf(*a).detach(),
    },
    "ss_term": {
        "no selection": lambda *a: ss(*a, mask=lambda s, t, c, share: slice(None)),
        "selected by the student": lambda *a: ss(*a, mask=lambda s, t, c, share: transfer_mask(s, c, share)),
        "right rows only": lambda *a: ss(*a, mask=lambda s, t, c, share: t.argmax(1) == c),
        "ratio as a share of all rows": lambda *a: ss(
            *a, mask=lambda s, t, c, share: kept_by(error_rank(t, c), int(share * len(c)))
        ),
        "KL turned round": ss_turned_round,
        "positives at r // 3": lambda *a: ss(
            *a, mask=lambda s, t, c, share: transfer_mask(t, torch.arange(len(c)) // 3, share)
        ),
        "not normalised": lambda *a: ss(*a, matrix=lambda rotated, upright: rotated @ upright.T),
        "softmax over the wrong axis": ss_columns,
        "images as labels": ss_labels,
        "τ² forgotten": lambda z, w, tau, share: ss(z, w, tau, share) * tau**-2,
        "first block only": lambda *a: ss(*a, matrix=lambda r, u: similarity_matrix(r[: len(u)], u)),
        "teacher not detached": lambda *a: ss(*a, cut=lambda matrix: matrix),
        "no gradient": lambda *a: float(ss(*a)),
    },
    "sskd_total": {
        "weights left out": lambda terms, weights: torch.stack(list(terms.values())).sum(),
        "paired by order": lambda terms, weights: sum(
            t * w for t, w in zip(terms.values(), weights.values())  # noqa: B905
        ),
        "divided by the sum of the weights": lambda terms, w: add_up(terms, w) / sum(w.values()),
        "divided by the number of terms": lambda terms, weights: add_up(terms, weights) / 4,
        "all weights times all terms": lambda terms, weights: sum(
            w * t for w in weights.values() for t in terms.values()
        ),
        "only ce and kd": lambda terms, weights: terms["ce"] * weights["ce"] + terms["kd"] * weights["kd"],
        "ss left out": lambda terms, weights: add_up(terms, {**weights, "ss": 0}),
        "weight applied twice": lambda terms, weights: add_up(terms, {n: w * w for n, w in weights.items()}),
        "no gradient": lambda terms, weights: sum(weights[name] * terms[name].item() for name in terms),
    },
}  # fmt: skip
RIGHT = {
    "ce_term": (
        ce_loops,
        lambda z, y: F.cross_entropy(z[: len(y)], y),
        lambda z, y: -(F.one_hot(y, z.shape[1]) * quarter(z).log_softmax(1)).sum() / len(y),
    ),
    "kd_term": (
        kd_loops,
        lambda s, t, tau: kd_loss(quarter(s), quarter(t).detach(), tau),
        lambda s, t, tau: tau**2 * kl(s[: len(s) // 4], t[: len(t) // 4], tau),
    ),
    "tf_term": (
        tf,
        lambda *a: tf(*a, average=lambda rows, keep: (rows * keep).sum() / keep.sum()),
        lambda s, t, y, tau, share: kd_loss(
            s[len(y) :][(keep := transfer_mask(t[len(y) :], torch.cat([y, y, y]), share))],
            t.detach()[len(y) :][keep],
            tau,
        ),
    ),
    "ss_term": (
        ss,
        ss_loops,
        lambda *a: ss(
            *a, matrix=lambda r, u: torch.cosine_similarity(r.unsqueeze(1), u.unsqueeze(0), dim=-1)
        ),
    ),
    "sskd_total": (
        add_up,
        lambda terms, weights: sum(weights[name] * value for name, value in terms.items()),
        lambda terms, weights: torch.stack([terms[name] * w for name, w in weights.items()]).sum(),
    ),
}
