"""The zoo's methods as they are trained: sums of terms, their own parameters, first stages, resuming."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sskd_lib as sskd
from sskd_lib.files import CheckpointError
from sskd_lib.losses import (
    TERMS,
    FurtherTerms,
    PairOutputs,
    Recipe,
    Term,
    create_method,
    kd_loss,
    kl_rows,
    sskd_terms,
)
from sskd_lib.losses.at import at_loss
from sskd_lib.losses.dkd import dkd_loss, dkd_rows
from sskd_lib.training.jobs import prepare

ZOO = tuple(TERMS)
SHORT = sskd.Schedule(epochs=4, batch_size=10, lr=0.01)
PLAIN = {"runtime": sskd.Runtime(), "progress": False, "schedule": SHORT}


@pytest.fixture(scope="module")
def images() -> sskd.ImageSet:
    return sskd.load_images("fashion-mnist-lab").take(20)


def networks(images: sskd.ImageSet, student: str = "resnet8", projection: bool = False):
    teacher = sskd.create_network("resnet14", images, projection=True, seed=1)
    return sskd.create_network(student, images, projection=projection), teacher


def outputs(rows: int, seed: int = 0, size: int = 8) -> sskd.Output:
    """Random outputs of a network with a stem and three stages."""
    g = torch.Generator().manual_seed(seed)
    maps = tuple(
        torch.randn(rows, c, size // d, size // d, generator=g) for c, d in ((4, 1), (4, 1), (6, 2), (8, 4))
    )
    logits, projection = torch.randn(rows, 5, generator=g), torch.randn(rows, 8, generator=g)
    return sskd.Output(logits, projection, maps[-1].mean((2, 3)), maps, maps[-1])


def made(name: str, rows: int, **numbers) -> tuple:
    """(method, further terms, student, teacher, labels, index) on random outputs, past any first stage."""
    method = create_method(name, **numbers)
    student, teacher = outputs(rows * method.views, 1), outputs(rows * method.views, 2)
    labels = torch.arange(rows) % 5
    own = method.fit_to(PairOutputs(student=student, teacher=teacher, labels=labels))
    own.eval().begin(9, 10)  # eval: CRD's memory stays as it is
    return method, own, student, teacher, labels, torch.arange(rows)


# ---- what a method sums ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ZOO if TERMS[name].stays])
def test_alone_a_term_is_added_to_cross_entropy_with_its_published_weight(name):
    method, own, student, teacher, labels, index = made(name, 6)
    found = method(student, teacher, labels, own, index)
    ce = F.cross_entropy(student.logits, labels)
    assert method.views == 1 and method.needs_teacher and not method.needs_projection
    assert set(found) == {"ce", name, "total"} - ({"ce"} if TERMS[name].ce == 0 else set())
    torch.testing.assert_close(found["total"], TERMS[name].ce * ce + TERMS[name].weight * found[name])
    direct = own.losses[name](student, teacher, labels, index)
    assert torch.isfinite(direct) and torch.equal(direct, found[name])


def test_two_terms_add_up_and_take_numbers_of_their_own():
    method, own, student, teacher, labels, index = made(
        "at+dkd", 6, at={"weight": 3.0}, dkd={"beta": 2.0, "weight": 0.5}
    )
    found = method(student, teacher, labels, own, index)
    at = sum(at_loss(s, t) for s, t in zip(student.maps[1:], teacher.maps[1:], strict=True))
    dkd = dkd_loss(student.logits, teacher.logits, labels, beta=2.0)
    torch.testing.assert_close(found["total"], F.cross_entropy(student.logits, labels) + 3 * at + 0.5 * dkd)


def test_sskd_with_dkd_is_sskd_with_dkd_for_its_soft_targets_on_upright_views():
    recipe = Recipe()
    method, own, student, teacher, labels, index = made("sskd+dkd", 4)
    assert (method.views, method.needs_projection) == (4, True)
    found = method(student, teacher, labels, own, index)
    four = sskd_terms(student, teacher, labels, recipe)
    dkd = dkd_loss(student.logits[:4], teacher.logits[:4], labels)
    expected = recipe.ce * four["ce"] + recipe.kd * dkd + recipe.tf * four["tf"] + recipe.ss * four["ss"]
    torch.testing.assert_close(found["total"], expected)
    assert set(found) == {"ce", "tf", "ss", "dkd", "total"}


def test_kd_with_dkd_is_kd_where_the_two_weights_make_it_so():
    """One image, so that one β makes DKD the divergence it decouples (its Eq. 6): β = 1 - p_T(label)."""
    _, _, student, teacher, labels, index = made("dkd", 1)
    beta = 1 - float(F.softmax(teacher.logits / 4, 1)[0, labels[0]])
    method, own, *_ = made("kd+dkd", 1, dkd={"beta": beta})
    plain = create_method("kd")(student, teacher, labels)["total"]
    torch.testing.assert_close(method(student, teacher, labels, own, index)["total"], plain)
    target, others = dkd_rows(student.logits, teacher.logits, labels, 4.0)
    torch.testing.assert_close(target + beta * others, kd_loss(student.logits, teacher.logits, 4.0)[None])


def test_a_feature_term_behind_kd_leaves_its_soft_targets():
    method, own, student, teacher, labels, index = made("kd+at", 6)
    found = method(student, teacher, labels, own, index)
    plain = create_method("kd")(student, teacher, labels)["total"]
    torch.testing.assert_close(found["total"], plain + TERMS["at"].weight * found["at"])


@pytest.mark.parametrize(
    ("name", "numbers", "told"),
    [
        ("dkdd", {}, "Did you mean 'dkd'"),
        ("sskd+", {}, "no method ''"),
        ("at+sskd", {}, "'sskd' can only come first"),
        ("dkd+dist", {}, "one kind of soft targets"),
        ("at+at", {}, "each term can stand once"),
        ("at+ab", {}, "before and after the ReLU"),
        ("kd+simkd", {}, "Name simkd alone, or with terms that compare maps"),
        ("simkd+dkd", {}, "labels, soft targets or features would pull"),
        ("dkd", {"dkd": {"gamma": 1}}, "it has: weight, alpha, beta, temperature"),
        ("sskd", {"dkd": {"beta": 1}}, "no term dkd"),
    ],
)
def test_a_name_that_means_nothing_says_what_there_is(name, numbers, told):
    with pytest.raises(ValueError, match=told):
        create_method(name, **numbers)


# ---- a training with them -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ZOO)
def test_twenty_steps_lower_the_loss_and_leave_the_teacher_alone(name, images):
    """The term alone, cross-entropy left out, on one batch that is the same in every step."""
    student, teacher = networks(images)
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    method = create_method(name)
    x = sskd.views.one_view(images.images)
    with torch.no_grad():
        taught = teacher.eval()(x, **method.asked)
    first = TERMS[name].first > 0
    own = method.fit_to(
        PairOutputs(student=student.eval()(x, **method.asked), teacher=taught, labels=images.labels)
    )
    own.begin(0 if first else 9, 10)
    student.train()
    optimizer = torch.optim.Adam([*student.parameters(), *own.parameters()], lr=1e-3)
    if name == "crd":  # its memory is set up by one step and then held, so that all steps have one loss
        own(student(x, **method.asked), taught, images.labels, torch.arange(20))
        own.eval()
    losses = []
    for _ in range(20):
        _, loss = own(student(x, **method.asked), taught, images.labels, torch.arange(20))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < losses[0]
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in teacher.state_dict().items())


class Stop(Exception):
    pass


@pytest.mark.parametrize("name", [*ZOO, "sskd+dkd", "kd+fitnet"])
def test_a_training_that_was_cut_off_ends_exactly_as_if_it_had_not_been(name, images, tmp_path):
    """Cut off after the second of four epochs: a first stage of AB, FSP and FT is then over."""
    heads = create_method(name).needs_projection

    def train(out, watch=None):
        student, teacher = networks(images, projection=heads)
        return sskd.distill(
            student, teacher, images, method=name, out=out, watch=watch, save_seconds=0, **PLAIN
        )

    def stop(epochs, _):
        if epochs == 3:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path / "cut", stop)
    runs = [train(tmp_path / "cut"), train(tmp_path / "whole")]
    states = [run.network.state_dict() for run in runs]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    timeless = [[{k: v for k, v in r.items() if k != "seconds"} for r in run.history] for run in runs]
    assert timeless[0] == timeless[1]


def test_the_terms_own_parameters_are_trained_and_saved(images, tmp_path):
    student, teacher = networks(images)
    run = sskd.distill(student, teacher, images, method="fitnet", out=tmp_path, **PLAIN)
    saved, _ = sskd.checkpoints.read_tensors(tmp_path / "resume.safetensors")
    name = "own.trained.fitnet.regressor.layers.0.weight"
    fresh = create_method("fitnet").fit_to(pair_of(student, teacher, images), seed=0).state_dict()
    assert not torch.equal(saved[name], fresh[name.removeprefix("own.")])
    assert not any("fitnet" in key for key in run.network.state_dict())
    again = create_method("fitnet").fit_to(pair_of(student, teacher, images), seed=0).state_dict()
    other = create_method("fitnet").fit_to(pair_of(student, teacher, images), seed=1).state_dict()
    assert torch.equal(fresh["trained.fitnet.regressor.layers.0.weight"], again[name.removeprefix("own.")])
    assert not torch.equal(fresh[name.removeprefix("own.")], other[name.removeprefix("own.")])


def pair_of(student: sskd.Network, teacher: sskd.Network, images: sskd.ImageSet) -> PairOutputs:
    x = sskd.views.one_view(images.images[:2])
    with torch.no_grad():
        said = [network.eval()(x, maps="post_relu") for network in (student, teacher)]
    return PairOutputs(student=said[0], teacher=said[1], labels=images.labels)


def test_another_number_is_another_run(images, tmp_path):
    student, teacher = networks(images)
    sskd.distill(
        student, teacher, images, method=create_method("dkd", dkd={"beta": 6.0}), out=tmp_path, **PLAIN
    )
    student, teacher = networks(images)
    with pytest.raises(CheckpointError, match=r"terms\.dkd\.beta \(6\.0 there, 2\.0 asked for\)"):
        sskd.distill(
            student, teacher, images, method=create_method("dkd", dkd={"beta": 2.0}), out=tmp_path, **PLAIN
        )


@pytest.mark.parametrize("name", ["ab", "fsp", "ft"])
def test_in_the_first_stage_the_term_is_alone_and_later_cross_entropy_trains_the_classifier(name, images):
    student, teacher = networks(images)
    start = {key: tensor.clone() for key, tensor in student.state_dict().items()}
    after_first = {}

    def watch(epochs, seen):
        if epochs == 1:
            after_first.update({key: tensor.clone() for key, tensor in seen[0].state_dict().items()})

    run = sskd.distill(student, teacher, images, method=name, watch=watch, **PLAIN)
    assert "ce" not in run.history[0] and name in run.history[0]
    assert all("ce" in record and (name in record) == TERMS[name].stays for record in run.history[1:])
    fc, conv = "backbone.fc.weight", "backbone.layer1.0.conv1.weight"
    assert torch.equal(after_first[fc], start[fc]) and not torch.equal(student.state_dict()[fc], start[fc])
    assert torch.equal(after_first[conv], start[conv]) == (
        name == "ft"
    )  # FT's first stage is the paraphraser's


def test_the_paraphraser_is_held_after_its_first_stage(images, tmp_path):
    def paraphraser(epochs: int) -> dict:
        student, teacher = networks(images)
        out, key = tmp_path / str(epochs), "own.trained.ft.paraphraser"

        def stop(done, _):
            if done > epochs:
                raise Stop

        options = {"method": "ft", "out": out, "save_seconds": 0, **PLAIN}
        if epochs < SHORT.epochs:
            with pytest.raises(Stop):
                sskd.distill(student, teacher, images, watch=stop, **options)
        else:
            sskd.distill(student, teacher, images, **options)
        tensors, _ = sskd.checkpoints.read_tensors(out / "resume.safetensors")
        return {name: tensor for name, tensor in tensors.items() if name.startswith(key)}

    first, last = paraphraser(1), paraphraser(SHORT.epochs)
    assert first and all(torch.equal(first[name], last[name]) for name in first)


def test_in_its_first_stage_a_term_has_weight_1():
    """FT's 200 is that of its later loss; the paraphraser's reconstruction diverges under it."""
    method, own, student, teacher, labels, index = made("ft", 6)
    own.begin(0, 10)
    found = method(student, teacher, labels, own, index)
    torch.testing.assert_close(found["total"], own.losses["ft"].first(student, teacher, labels, index))


def test_the_weight_of_dkd_rises_over_its_first_epochs():
    method, own, student, teacher, labels, index = made("dkd", 6)
    parts = []
    for epoch in (0, 9, 19, 20, 239):  # 20 of 240, as published
        own.begin(epoch, 240)
        found = method(student, teacher, labels, own, index)
        parts.append(((found["total"] - found["ce"]) / found["dkd"]).item())
    assert parts == pytest.approx([1 / 20, 10 / 20, 1, 1, 1], abs=1e-5)


def test_students_of_different_methods_in_one_training_end_as_if_alone(images):
    names = ["at", "kd", "ab", "dkd"]
    alone = []
    for name in names:
        student, teacher = networks(images)
        alone.append(sskd.distill(student, teacher, images, method=name, **PLAIN).network.state_dict())
    students = [networks(images)[0] for _ in names]
    runs = sskd.distill(students, networks(images)[1], images, method=names, **PLAIN)
    for state, run in zip(alone, runs, strict=True):
        assert all(torch.equal(tensor, state[key]) for key, tensor in run.network.state_dict().items())


def test_one_pass_of_the_teacher_serves_all_who_look_alike(images):
    """Two steps: in each one pass for labels, logits and maps, one for maps before the ReLU."""
    teacher = networks(images)[1]
    passes = []
    teacher.register_forward_hook(lambda *_: passes.append(1))
    names = ["ce", "kd", "at", "fitnet", "ab"]
    students = [networks(images)[0] for _ in names]
    schedule = replace(SHORT, epochs=1)
    sskd.distill(students, teacher, images, method=names, **{**PLAIN, "schedule": schedule})
    made = 3  # one look to make the terms of at, fitnet and ab
    assert len(passes) == 2 * 2 + made


@pytest.mark.parametrize("name", ["fitnet", "vid", "ft", "reviewkd"])
def test_the_layers_of_a_term_compute_as_the_networks_do_and_its_loss_in_single_precision(name, images):
    """Next to plain float32, on the same first step: other formats inside, nearly the same loss."""
    formats, losses = {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        student, teacher = networks(images)
        kit = sskd.Runtime(dtype=dtype)
        lesson, (job,) = prepare([student], teacher, images, method=name, **PLAIN | {"runtime": kit})
        seen = formats[dtype] = set()
        for layer in job.own.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.register_forward_hook(lambda layer, given, out, seen=seen: seen.add(out.dtype))
        batch = next(iter(lesson.feed.epoch(0)))
        views = batch.views(lesson.feed.size, 1)
        with torch.no_grad():
            taught = kit.run(teacher, views, **job.asked)
        terms, _ = job.learn(views, taught, batch)
        terms["total"].backward()
        losses[dtype] = terms[name]
        assert terms[name].dtype == torch.float32
        assert {p.grad.dtype for p in job.own.parameters() if p.grad is not None} == {torch.float32}
    assert formats == {torch.float32: {torch.float32}, torch.bfloat16: {torch.bfloat16}}
    torch.testing.assert_close(losses[torch.bfloat16], losses[torch.float32], rtol=0.03, atol=0)


def test_a_loss_without_layers_is_computed_in_single_precision(images):
    """One that multiplies matrices: autocast would round them, and says nothing of it."""
    seen = []

    def likeness(student, teacher, labels, index):
        table = student.features @ teacher.features.T
        seen.append((table.dtype, torch.is_autocast_enabled("cpu")))
        return table.mean()

    term = Term(name="mine", weight=1.0, looks_at="features", make=lambda pair: likeness)
    method = replace(create_method("kd"), extra=(term,))
    kit = sskd.Runtime(dtype=torch.bfloat16)
    student, teacher = networks(images)
    sskd.distill(student, teacher, images, method=method, **PLAIN | {"runtime": kit})
    assert set(seen) == {(torch.float32, False)}


def test_divergences_of_what_a_layer_says_in_half_precision_are_single():
    """As the heads for pretext tasks say it: only what comes in was rounded."""
    s, t = (outputs(6, seed).logits.bfloat16() for seed in (1, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = kl_rows(s, t, 4.0)
    assert found.dtype == torch.float32 and torch.equal(found, kl_rows(s.float(), t.float(), 4.0))


# ---- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fsp", "kdsvd"])
def test_networks_of_different_widths_are_refused_before_the_training(name, images, tmp_path):
    student, teacher = networks(images, "wrn_16_1")
    with pytest.raises(ValueError, match="same width"):
        wide = sskd.create_network("wrn_16_2", images)
        sskd.distill(student, wide, images, method=name, out=tmp_path / "x", **PLAIN)
    assert not (tmp_path / "x").exists()


def test_a_stage_that_is_not_there_is_named(images):
    student, teacher = networks(images)
    method = create_method("fitnet", fitnet={"stage": 7})
    with pytest.raises(ValueError, match=r"no stage 7.*0 \(the stem\) to 3"):
        sskd.distill(student, teacher, images, method=method, **PLAIN)


def test_a_table_has_no_maps(images, tmp_path):
    student, teacher = networks(images)
    sskd.cache_teacher(teacher, images, tmp_path, draws=1, runtime=sskd.Runtime(), progress=False)
    with pytest.raises(ValueError, match="compares maps, and a table holds logits"):
        sskd.distill(student, None, images, method="at", table=tmp_path, **PLAIN)
    sskd.distill(student, None, images, method="dkd", table=tmp_path, **PLAIN)


def test_a_method_with_further_terms_says_what_it_lacks():
    student, teacher = outputs(4), outputs(4, 1)
    with pytest.raises(ValueError, match="fit_to"):
        create_method("at")(student, teacher, torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("name", ZOO)
def test_one_class_and_a_batch_of_one_are_handled_or_explained(name):
    """A training of 3 images in batches of 2 ends with a batch of one; all of one class."""
    data = sskd.load_images("fashion-mnist-lab").take(30)
    rows = data.labels == data.labels[0]
    images = replace(data, images=data.images[rows], labels=data.labels[rows])
    student, teacher = networks(images)
    schedule = sskd.Schedule(epochs=1, batch_size=2, lr=0.001)
    options = {"method": name, "schedule": schedule, "runtime": sskd.Runtime(), "progress": False}
    if name == "crd":
        with pytest.raises(ValueError, match="class"):
            sskd.distill(student, teacher, images, **options)
        return
    run = sskd.distill(student, teacher, images, **options)
    assert all(torch.isfinite(tensor).all() for tensor in run.network.state_dict().values())


def test_further_terms_are_a_module_whose_state_is_complete(images):
    """Every parameter of a loss is found in state_dict, so that nothing is lost when a run is resumed."""
    student, teacher = networks(images)
    for name in ZOO:
        if TERMS[name].looks_at == "pre_activation":
            continue
        own = FurtherTerms(create_method(name).extra, pair_of(student, teacher, images))
        loss = own.losses[name]
        inner = len(list(loss.parameters())) if isinstance(loss, torch.nn.Module) else 0
        assert len(list(own.parameters())) == inner
