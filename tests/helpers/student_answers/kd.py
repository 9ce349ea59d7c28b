"""Answers to soften, kd_loss and kd_gradient, as a student may write them."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, softmax


def soften_loops(logits, tau):
    rows = []
    for row in logits.tolist():
        top = max(row)
        raised = [math.exp((score - top) / tau) for score in row]
        rows.append([value / sum(raised) for value in raised])
    return rows


def kd_loss_loops(student, teacher, tau):
    total = 0
    for s, t in zip(student / tau, teacher.detach() / tau):  # noqa: B905
        for k in range(len(s)):
            q, p = t.exp()[k] / t.exp().sum(), s.exp()[k] / s.exp().sum()
            total += q * torch.log(q / p)
    return total / student.shape[0] * tau * tau


def kl_div_of_probabilities(student, teacher, tau):
    p, q = torch.softmax(student / tau, -1), torch.softmax(teacher.detach() / tau, -1)
    return F.kl_div(p, q, reduction="batchmean") * tau**2


def autograd_by_hand(student, teacher, tau):
    s = student.clone().requires_grad_()
    loss = F.kl_div(F.log_softmax(s / tau, 1), F.softmax(teacher / tau, 1), reduction="batchmean") * tau**2
    return torch.autograd.grad(loss, s)[0]


def gradient_loops(student, teacher, tau):
    p, q = softmax(student.numpy() / tau, 1), softmax(teacher.numpy() / tau, 1)
    return [[tau * (a - b) / len(p) for a, b in zip(x, y)] for x, y in zip(p, q)]  # noqa: B905


def kl_div(student, teacher, tau, reduction="batchmean"):
    return F.kl_div(F.log_softmax(student / tau, 1), F.softmax(teacher / tau, 1), reduction=reduction)


WRONG = {
    "soften": {
        "softmax over the wrong axis": lambda z, tau: torch.softmax(z / tau, dim=0),
        "multiplied by the temperature": lambda z, tau: softmax(z.numpy() * tau, axis=1),
        "temperature left out": lambda z, tau: [softmax(row) for row in z.tolist()],
        "divided by τ after the softmax": lambda z, tau: softmax(z.numpy(), axis=-1) / tau,
        "not normalised": lambda z, tau: np.exp(z.numpy() / tau),
        "divided by the sum of everything": lambda z, tau: (e := torch.exp(z / tau)) / e.sum(),
        "logarithms of probabilities": lambda z, tau: log_softmax(z.numpy() / tau, axis=1),
        "overflow": lambda z, tau: (e := torch.exp(z / tau)) / e.sum(1, keepdim=True),
    },
    "kd_loss": {
        "τ² forgotten": lambda s, t, tau: kl_div(s, t.detach(), tau),
        "τ instead of τ²": lambda s, t, tau: kl_div(s, t.detach(), tau) * tau,
        "KL turned round": lambda s, t, tau: tau**2 * kl_div(t.detach(), s, tau),
        "mean over classes too": lambda s, t, tau: tau**2 * F.kl_div(
            F.log_softmax(s / tau, 1), F.softmax(t / tau, 1)
        ),
        "sum over images": lambda s, t, tau: tau**2 * kl_div(s, t, tau, "sum"),
        "probabilities where kl_div wants logarithms": kl_div_of_probabilities,
        "teacher not detached": lambda s, t, tau: tau**2 * kl_div(s, t, tau),
        "no gradient": lambda s, t, tau: (tau**2 * kl_div(s, t.detach(), tau)).item(),
    },
    "kd_gradient": {
        "wrong sign": lambda s, t, tau: -np.array(gradient_loops(s, t, tau)),
        "not divided by N": lambda s, t, tau: np.array(gradient_loops(s, t, tau)) * len(s),
        "τ forgotten": lambda s, t, tau: ((s / tau).softmax(1) - (t / tau).softmax(1)).div(s.size(0)),
        "τ² kept whole": lambda s, t, tau: tau * autograd_by_hand(s, t, tau),
        "loss without τ²": lambda s, t, tau: autograd_by_hand(s, t, tau) / tau**2,
        "temperature 1 in the softmax": lambda s, t, tau: tau * (s.softmax(1) - t.softmax(1)) / len(s),
        "differences of scores": lambda s, t, tau: (s - t) * tau / len(t),
        "divided by N · K": lambda s, t, tau: autograd_by_hand(s, t, tau) / s.size(1),
    },
}  # fmt: skip
RIGHT = {
    "soften": (
        soften_loops,
        lambda z, tau: torch.softmax(z / tau, dim=-1),
        lambda logits, temperature: softmax(logits.numpy() / temperature, axis=1),
        lambda z, tau: (z / tau - torch.logsumexp(z / tau, 1, keepdim=True)).exp(),
    ),
    "kd_loss": (
        kd_loss_loops,
        lambda s, t, tau: tau**2 * kl_div(s, t.detach(), tau),
        lambda s, t, tau: tau**2 * torch.einsum(
            "nk,nk->", (q := F.softmax(t.detach() / tau, 1)), q.log() - F.log_softmax(s / tau, 1)
        ) / len(s),
    ),
    "kd_gradient": (
        gradient_loops,
        autograd_by_hand,
        lambda s, t, tau: tau / len(s) * (softmax(s / tau, axis=1) - softmax(t / tau, axis=1)),
    ),
}  # fmt: skip
