"""Figures and tables of notebook 02: turned images and their classes, random draws, right rows of heads.

The symbols are those of `rotated_views`. A `show_…` displays a figure with its alternative text, and prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..data.images import ImageSet
from ..data.views import four_views, rotate
from ..losses import contrastive_floor
from ..models.network import Output
from .curves import line_figure
from .display import show
from .plots import image_grid
from .rotated_views import rows_right, spread, wrong_rows
from .style import ANGLES


def show_rotated_guesses(output: Output, images: ImageSet, shown: int = 6) -> None:
    """Show some images upright and turned by 90° with the classes that a network gives, and print accuracies.

    output: of `view_outputs`. The images are, of each of `shown` classes, the first that the network gets
    right when upright, or the first where there is none.
    """
    labels, p = images.labels.cpu(), output.logits.softmax(2)
    confidence, guess = p.max(2)
    classes = spread(labels.unique().tolist(), shown)
    good = (guess[0] == labels).int()  # argmax takes the first of the largest
    chosen = [int(((labels == k) * (1 + good)).argmax()) for k in classes]
    titles = [
        f"{images.classes[guess[turn, i]]}\n{100 * confidence[turn, i]:.0f} %"
        for turn in (0, 1)
        for i in chosen
    ]
    views = four_views(images.images[chosen], augment=False, window=images.window).cpu()[: 2 * len(chosen)]
    words = [
        f"{images.classes[labels[i]]}: {images.classes[guess[0, i]]}, turned {images.classes[guess[1, i]]}"
        for i in chosen
    ]
    show(
        image_grid(views, titles, columns=len(chosen)),
        alt=f"{len(chosen)} images, upright above and turned by 90° below, with the class that the network "
        f"gives. {'; '.join(words)}.",
    )
    print(f"{'view':8} {'right':>7} {'mean confidence':>17}   most frequent class")
    for angle, g, c in zip(ANGLES, guess, confidence, strict=True):
        counts = torch.bincount(g, minlength=images.num_classes)
        often = f"{images.classes[counts.argmax()]} ({100 * counts.max() / len(g):.0f} %)"
        print(f"{angle:8} {100 * (g == labels).float().mean():5.1f} % {100 * c.mean():15.0f} %   {often}")


def show_draws(image: Tensor, draws: int = 3, seed: int = 2) -> None:
    """Show an image's four views in several random draws and, beside them, the same views turned back.

    image: uint8 [C, H, H].
    """
    generator = torch.Generator().manual_seed(seed)
    views = four_views(image.cpu().expand(draws, -1, -1, -1), generator).unflatten(0, (4, draws))
    rows, titles = [], []
    for four in views.transpose(0, 1):
        rows += [*four, *(rotate(view, -quarter_turns) for quarter_turns, view in enumerate(four))]
        titles += [*ANGLES, "upright", *(f"{angle} back" for angle in ANGLES[1:])]
    show(
        image_grid(torch.stack(rows), titles, columns=8),
        alt=f"{draws} draws of the four views of one image, and the same views turned back: in one draw all "
        "four are mirrored or none is, but each is shifted differently.",
    )


def shared_in_draws(
    make_views: Callable[[Tensor, torch.Generator], Tensor] = four_views, draws: int = 50, seed: int = 0
) -> tuple[bool, bool]:
    """Return whether the four views of one draw always share their flip, and whether they share their crop.

    Measured on an image whose pixels say where they come from. make_views: (uint8 [B, C, H, H], generator) →
    float [4B, C, H, H] in [0, 1], rows as in `four_views`.
    """
    place = 1 + torch.arange(32)
    image = torch.stack(torch.meshgrid(place, place, indexing="xy")).to(torch.uint8)  # its column, its row
    views = make_views(image.expand(draws, -1, -1, -1), torch.Generator().manual_seed(seed))
    turned = views.mul(255).round().unflatten(0, (4, draws))
    back = torch.stack([rotate(view, -quarter_turns) for quarter_turns, view in enumerate(turned)])
    centre = back[..., 15, 15]  # [4, draws, 2]: which column and row is in the middle
    mirrored = back[..., 0, 15, 16] < centre[..., 0]  # columns count downwards
    column = torch.where(mirrored, 34 - centre[..., 0], centre[..., 0])  # counted from the mirrored side
    crop = torch.stack([column, centre[..., 1]], 2)
    return bool((mirrored == mirrored[0]).all()), bool((crop == crop[0]).all())


def print_always_right(projections: Tensor, batch: int) -> None:
    """Print how many images of a batch pick their own image at all angles in every draw, or never.

    projections: float [draws, 4B, D] of `project_draws`; batch: B.
    """
    wrong = torch.stack([wrong_rows(z.unflatten(0, (4, batch)), batch) for z in projections])
    times = wrong.shape[0] * wrong.shape[1]
    missed = wrong.sum((0, 1))
    print(f"{batch} images, each turned {times} times ({wrong.shape[0]} draws, 3 angles):")
    print(f"found every time: {int((missed == 0).sum())}; never found: {int((missed == times).sum())}")
    first = len(wrong) - wrong[:, :, 0].sum(0)
    found = ", ".join(f"{angle} in {n}" for angle, n in zip(ANGLES[1:], first.tolist(), strict=True))
    print(f"image 1, of {len(wrong)} draws: found at {found}")


def several_rows_right(
    candidates: Mapping[str, Tensor | Sequence[Tensor]], batch: int = 64
) -> dict[str, list[float]]:
    """Return the right rows of several vectors, in %: name → one value for each of its vectors.

    candidates: name → vectors [4, M, D], or several of them.
    """
    return {
        name: [rows_right(v, batch) for v in ([vectors] if isinstance(vectors, Tensor) else vectors)]
        for name, vectors in candidates.items()
    }


def print_rows_right(candidates: Mapping[str, Tensor | Sequence[Tensor]], batch: int = 64) -> None:
    """Print the share of right rows of several vectors, and that of a guess, the largest first.

    candidates: name → vectors [4, M, D], or several of them, whose mean, least and largest are printed.
    """
    lines = []
    for name, values in several_rows_right(candidates, batch).items():
        spread_words = f"   ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
        lines.append((sum(values) / len(values), name, spread_words))
        size = min(batch, candidates[name][0].shape[-2])
    lines.append((100 / size, "a guess", ""))
    print(f"right rows among B = {size} images")
    for value, name, spread_words in sorted(lines, reverse=True):
        print(f"{value:6.1f} %  {name}{spread_words}")


def show_head_training(
    history: Sequence[Mapping[str, float]], levels: Mapping[str, float], batch: int = 64
) -> None:
    """Show the right rows of a head after each epoch, and print how much of its loss's range it has used.

    history: of `train_on_features`; levels: name → right rows in %, to compare with.
    """
    curves = {
        "training images": [record["train"] for record in history],
        "test images": [record["test"] for record in history],
    }
    words = "; ".join(f"{name} {level:.1f} percent" for name, level in levels.items())
    epochs, ylabel = range(1, len(history) + 1), f"right rows (%), B = {batch}"
    figure = line_figure(epochs, curves, "epoch", ylabel, levels=levels)
    most = max(*levels.values(), *curves["training images"], *curves["test images"])
    figure.axes[0].set_ylim(0, 1.35 * most)  # with room for the legend
    show(
        figure,
        alt=f"Right rows on test images: {history[0]['test']:.0f} percent after the first epoch, "
        f"{history[-1]['test']:.0f} after the last. To compare: {words}.",
    )
    chance, floor = float(torch.tensor(batch).log()), contrastive_floor(batch)
    used = 100 * (chance - history[-1]["loss"]) / (chance - floor)
    print("loss by epoch:", *(f"{record['loss']:.2f}" for record in history))
    print(f"chance {chance:.2f}, floor {floor:.2f}: the training went {used:.0f} % of the way")
    words = ", ".join(f"{name} {level:.1f} %" for name, level in levels.items())
    print(f"right rows: this head {history[-1]['test']:.1f} %, {words}")


def show_batch_sizes(candidates: Mapping[str, Tensor], sizes: Sequence[int]) -> None:
    """Show the share of right rows of several vectors [4, M, D] against the batch size, and print it."""
    sizes = [size for size in sizes if size <= min(v.shape[1] for v in candidates.values())]
    curves = {name: [rows_right(v, size) for size in sizes] for name, v in candidates.items()}
    curves["guess"] = [100 / size for size in sizes]
    words = "; ".join(f"{name} from {line[0]:.0f} to {line[-1]:.1f} percent" for name, line in curves.items())
    show(
        line_figure(sizes, curves, "images in the batch, B", "right rows (%)", logarithmic="x"),
        alt=f"Right rows from B = {sizes[0]} to B = {sizes[-1]}: {words}.",
    )
    print(f"{'B':>4}" + "".join(f"{name:>18}" for name in curves))
    for place, size in enumerate(sizes):
        print(f"{size:4}" + "".join(f"{line[place]:16.1f} %" for line in curves.values()))
