"""The first page of the site: the idea, a small explorer, the plan of the course, and what else there is."""

from __future__ import annotations

import base64
import functools
import html
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernels import Result

CLASSES = 5  # of the teacher's answer that are drawn; the others are one bar
PICTURE = re.compile(r"!\[([^\]]+)\]\(docs/idea\.png\)")


@functools.cache
def temperature_data() -> dict[str, Any]:
    """Return two images of one label and the shipped teacher's logits, for the explorer of the first page.

    pictures: PNGs as base64; label: the class of both; answers: for each image, names and logits of all
    classes, the largest first. The embedded images, so that nothing is downloaded.
    """
    import sskd_lib as sskd
    from sskd_lib import lab

    test = sskd.load_images("fashion-mnist-lab", "test")
    weights = sskd.data.DATA_FOLDER / "weights" / "fashion-mnist" / "teacher_wrn_16_2.safetensors"
    logits = sskd.predict(sskd.load_checkpoint(weights), test).logits.float()
    pair = lab.same_label_pair(logits, test.labels)
    answers = []
    for image in pair:
        values, order = logits[image].sort(descending=True)
        answers.append(
            {
                "names": [test.classes[k] for k in order.tolist()],
                "logits": [round(v, 4) for v in values.tolist()],
            }
        )
    return {
        "label": test.classes[int(test.labels[pair[0]])],
        "pictures": [_png(test.images[image]) for image in pair],
        "answers": answers,
        "shown": CLASSES,
    }


def _png(image: Any) -> str:
    """Return one image uint8 [C, H, W] as base64 of a PNG, dark clothes on white as in a catalogue."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(255 - image[0].cpu().numpy()).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def temperature_context() -> dict[str, Any]:
    """Return what the template of the first page needs for its explorer: data, and the same as JSON."""
    data = temperature_data()
    moving = {key: data[key] for key in ("answers", "shown")}
    return {"explorer": data, "explorer_json": json.dumps(moving).replace("<", "\\u003c")}


def idea_picture(kit: Path) -> dict[str, str] | None:
    """Return README's picture of the idea with its alternative text, or None where there is none."""
    file, readme = kit / "docs" / "idea.png", kit / "README.md"
    if not (file.is_file() and readme.is_file()):
        return None
    picture = PICTURE.search(readme.read_text(encoding="utf-8"))
    if picture is None:
        return None
    return {
        "alt": html.escape(" ".join(picture[1].split())),
        "png": base64.b64encode(file.read_bytes()).decode("ascii"),
    }


def runs_table(results: Sequence[Result], pages: dict[str, str]) -> list[dict[str, str]]:
    """Return a row for each notebook that was run: name, seconds, peak memory, and its failure if it failed.

    pages: stem of a notebook → its name in the course.
    """
    rows = []
    for result in results:
        memory = "not measured" if result.peak_mb != result.peak_mb else f"{result.peak_mb:.0f} MB"
        rows.append(
            {
                "name": pages.get(result.name, result.name),
                "seconds": "" if result.failure else f"{result.seconds:.0f}",
                "memory": "" if result.failure else memory,
                "failure": result.failure,
            }
        )
    return rows
