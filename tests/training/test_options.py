"""The images that a command trains on: options that leave a class without one, and what is noted of noise."""

from __future__ import annotations

import pytest

from sskd_lib.recipes import Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.training.options import TrainingOptions
from sskd_lib.training.train import create_network, train_teacher


def test_an_option_that_leaves_a_class_without_images_is_refused():
    for wrong, message in (
        ({"labels": 7}, "--labels 7 gives 7 training images, and 3 of the 10 classes have none"),
        ({"held_out": 0.0001}, "--held-out 0.0001 gives 1 test images, and 9 of the 10"),
        ({"held_out": 0.9999}, "--held-out 0.9999 gives 1 training images, and 9 of the 10"),
        ({"labels": 20, "label_noise": 0.02}, "--label-noise.* changes none of 20 labels"),
    ):
        with pytest.raises(ValueError, match=message):
            TrainingOptions(**wrong).images()
    train, test = TrainingOptions(labels=10, held_out=0.001).images()
    assert train.without_images() == test.without_images() == ()


def test_the_summary_says_how_many_labels_are_wrong():
    train, _ = TrainingOptions(labels=20, label_noise=0.1).images()
    short = {"schedule": Schedule(epochs=1, batch_size=10), "runtime": Runtime(), "progress": False}
    run = train_teacher(create_network("resnet8", train), train, **short)
    noise = run.summary["card"]["train"]["label_noise"]
    assert noise == [{"rate": 0.1, "changed": 2, "of": 20}]
    clean = train_teacher(
        create_network("resnet8", train.take(10)), TrainingOptions(labels=20).images()[0], **short
    )
    assert "label_noise" not in clean.summary["card"]["train"]
