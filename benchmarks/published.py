"""The published procedure of a student step, written out plainly, to time and to test the kit against.

Nothing here is used by the kit, and no published code is copied: this follows a description of what the
SSKD code of July 2020 does (Xu et al. 2020, arXiv 2006.07114), step by step and without its own shortcuts:

- each image is flipped, turned and cropped by PIL, view after view;
- rows are interleaved, the four views of an image next to each other, and told apart by boolean masks;
- the cosine is taken by spreading both sides to [3B, D, B];
- rows are ranked by sorting, and selected by slicing a Python number of them;
- six numbers are read from the device at every step.

B images a batch, C channels, K classes, D feature width; N = 4B rows, R = 3B rotated rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision import transforms

from sskd_lib import Network, Output, Recipe


def published_transform(mean: Sequence[float], std: Sequence[float], size: int) -> Callable:
    """Return the transform of every view: a crop with black padding, then numbers, then normalisation."""
    return transforms.Compose(
        [
            transforms.RandomCrop(size, padding=4),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def published_views(images: np.ndarray, transform: Callable, random: np.random.Generator) -> Tensor:
    """Four views of each image, one at a time. images: uint8 [B, H, W, C]. Returns float [4B, C, H, W]."""
    items = []
    for image in images:
        if random.random() < 0.5:
            image = image[:, ::-1]
        turned = (np.ascontiguousarray(np.rot90(image, turns)) for turns in range(4))
        items.append(torch.stack([transform(Image.fromarray(view)) for view in turned]))
    return torch.stack(items).flatten(0, 1)


def published_output(network: Network, views: Tensor) -> Output:
    """Pass views that are normalised already."""
    features = network.backbone.features(views)
    return Output(network.backbone.classify(features), network.head(features), features)


def published_terms(
    student: Output, teacher: Output, labels: Tensor, recipe: Recipe
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The four terms, unweighted and under "total" weighted and summed; and two accuracies in percent.

    student, teacher: N interleaved rows; labels: int64 [B].
    """
    rows = np.arange(len(student.logits))
    upright = torch.from_numpy(rows % 4 == 0).to(labels.device)
    rotated = torch.from_numpy(rows % 4 != 0).to(labels.device)
    class_of_row = labels.unsqueeze(1).expand(-1, 3).contiguous().view(-1)  # [R]
    image_of_row = (
        torch.arange(len(labels)).unsqueeze(1).expand(-1, 3).contiguous().view(-1).to(labels.device)
    )

    similar_s = _broadcast_cosine(student.projection[rotated], student.projection[upright])
    similar_t = _broadcast_cosine(teacher.projection[rotated], teacher.projection[upright])
    tf = _chosen(teacher.logits[rotated], class_of_row, recipe.tf_keep_wrong)
    ss = _chosen(similar_t, image_of_row, recipe.ss_keep_wrong)
    terms = {
        "ce": F.cross_entropy(student.logits[upright], labels),
        "kd": _soft(student.logits[upright], teacher.logits[upright], recipe.kd_temperature),
        "tf": _soft(student.logits[rotated][tf], teacher.logits[rotated][tf], recipe.tf_temperature),
        "ss": _soft(similar_s[ss], similar_t[ss], recipe.ss_temperature),
    }
    terms["total"] = sum(getattr(recipe, name) * value for name, value in terms.items())
    accuracy = 100 * (student.logits[upright].argmax(1) == labels).float().mean()
    similar_accuracy = 100 * (similar_s.argmax(1) == image_of_row).float().mean()
    return terms, {"accuracy": accuracy.item(), "contrastive": similar_accuracy.item()}


def published_step(
    student: Network,
    teacher: Network,
    optimizer: torch.optim.Optimizer,
    make_views: Callable[[], Tensor],
    labels: Tensor,
    recipe: Recipe,
) -> Iterator[str]:
    """One student step; yields the name of each phase as it ends. The teacher is in eval mode."""
    device = next(student.parameters()).device
    views = make_views().to(device)
    labels = labels.to(device)
    yield "views"
    with torch.no_grad():
        teacher_output = published_output(teacher, views)
    yield "teacher"
    output = published_output(student, views)
    yield "student forward"
    terms, _ = published_terms(output, teacher_output, labels, recipe)
    yield "losses"
    optimizer.zero_grad()
    terms["total"].backward()
    yield "backward"
    optimizer.step()
    yield "update"
    for name in ("ce", "kd", "tf", "ss"):
        terms[name].item()
    yield "record"


def _broadcast_cosine(rotated: Tensor, upright: Tensor) -> Tensor:
    """Cosine of every rotated row with every upright one: [R, D] and [B, D] → [R, B], through [R, D, B]."""
    left = rotated.unsqueeze(2).expand(-1, -1, len(upright))
    right = upright.unsqueeze(2).expand(-1, -1, len(rotated)).transpose(0, 2)
    return F.cosine_similarity(left, right, dim=1)


def _chosen(scores: Tensor, targets: Tensor, keep_wrong: float) -> Tensor:
    """Indices of the rows to imitate: the right ones, and a share of the wrong ones, least wrong first."""
    order = scores.argsort(dim=1, descending=True)
    rank = (order == targets.unsqueeze(1)).int().argmax(dim=1)
    right = (rank == 0).nonzero().numel()
    wrong = len(rank) - right
    return rank.argsort()[: right + int(wrong * keep_wrong)].sort()[0]


def _soft(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    log_p = F.log_softmax(student / temperature, dim=1)
    return F.kl_div(log_p, F.softmax(teacher / temperature, dim=1), reduction="batchmean") * temperature**2
