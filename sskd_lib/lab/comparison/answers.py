"""Show real images with the answers of several networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...data.images import ImageSet
from ...models.network import Output
from ..display import show
from ..plots import image_grid

COLUMNS, SHOWN = 4, 8


def show_answers(images: ImageSet, outputs: Mapping[str, Output], rows: Sequence[int] | None = None) -> None:
    """Show images with their label and the answer of each network below it.

    outputs: name of a network → its outputs for all images. rows: the images to show, four side by side;
    without them the first one of each of up to eight classes.
    """
    chosen = list(rows) if rows is not None else _one_of_each(images.labels.tolist())
    if not chosen:
        print("there is no such image")
        return
    answers = {name: output.logits.argmax(1).tolist() for name, output in outputs.items()}
    labels = images.labels.tolist()
    titles, words = [], []
    for row in chosen:
        given = [f"{name}: {images.classes[guesses[row]]}" for name, guesses in answers.items()]
        titles.append("\n".join([images.classes[labels[row]], *given]))
        words.append(f"{images.classes[labels[row]]} ({', '.join(given)})")
    figure = image_grid(images.images[chosen], titles, columns=COLUMNS)
    show(figure, alt=f"Images with their label and the answers of the networks. {'; '.join(words)}.")


def _one_of_each(labels: Sequence[int]) -> list[int]:
    """Return the first row of each of up to SHOWN classes that are spread over all of them."""
    present = sorted(set(labels))
    step = max(1, len(present) / SHOWN)
    classes = [present[int(place * step)] for place in range(min(SHOWN, len(present)))]
    return [labels.index(label) for label in classes]
