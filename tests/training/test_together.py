"""Several students in one loop: each ends exactly as if alone, and the teacher runs once for all of them."""

from __future__ import annotations

import pytest
import torch

from helpers.training import SETTINGS, Stop, metrics, networks, pictures, same, state
from sskd_lib.evaluation import predict
from sskd_lib.losses import create_method
from sskd_lib.models.checkpoint import load_checkpoint
from sskd_lib.recipes import Recipe
from sskd_lib.training import create_network, distill
from sskd_lib.training.resume import RESUME_FILE, load_saved
from sskd_lib.training.state import Diverged

CLASS = ["sskd", "kd", "sskd", "ce", "kd+rotations"]
RECIPES = [None, Recipe(kd_temperature=2.0), Recipe(ss_keep_wrong=0.2), None, None]


def students(data, methods=CLASS):
    """One network a method, of different models and first weights."""
    models = ["resnet8", "resnet14"]
    return [create_network(models[i % 2], data, projection=True, seed=i) for i in range(len(methods))]


def strip(records: list[dict]) -> list[dict]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


@pytest.fixture(scope="module")
def alone():
    """Each student trained by itself: its run, in the order of CLASS."""
    data, test = pictures(20), pictures(16, seed=5)
    _, teacher = networks(data)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in every test here: another number of threads rounds differently
    runs = [
        distill(student, teacher, data, test, method=method, recipe=recipe, **SETTINGS)
        for student, method, recipe in zip(students(data), CLASS, RECIPES, strict=True)
    ]
    torch.set_num_threads(threads)
    return runs


def together(out=None, **changes):
    data, test = pictures(20), pictures(16, seed=5)
    _, teacher = networks(data)
    return distill(
        students=students(data),
        teacher=teacher,
        train=data,
        test=test,
        method=CLASS,
        recipe=RECIPES,
        out=out,
        **SETTINGS | changes,
    )


def test_each_ends_as_if_alone(alone, tmp_path):
    runs = together(out=tmp_path)
    for number, (run, lone) in enumerate(zip(runs, alone, strict=True), start=1):
        assert same(state(run.network), state(lone.network))
        assert strip(run.history) == strip(lone.history)
        assert run.summary["card"]["plan"] == lone.summary["card"]["plan"]
        folder = tmp_path / str(number)
        assert same(state(load_checkpoint(folder / "student.safetensors")), state(lone.network))
        assert metrics(folder) == run.history


def test_the_teacher_looks_once_at_each_kind_of_view(monkeypatch):
    data = pictures(20)
    _, teacher = networks(data)
    rows = []
    teacher.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    distill(students(data), teacher, data, method=CLASS, recipe=RECIPES, **SETTINGS)
    # three epochs of batches of 8, 8 and 4: four views for three students, one view for "kd", none for "ce"
    assert rows == [32, 8, 32, 8, 16, 4] * 3


def test_interrupted_together_it_goes_on_and_ends_as_if_alone(alone, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Stop(patch, batch=8)  # in the third of three epochs of three steps
        with pytest.raises(KeyboardInterrupt):
            together(out=tmp_path)
    assert [len(metrics(tmp_path / str(number))) for number in range(1, 6)] == [2] * 5
    for run, lone in zip(together(out=tmp_path), alone, strict=True):
        assert same(state(run.network), state(lone.network)) and strip(run.history) == strip(lone.history)


def test_students_at_different_epochs_catch_up(alone, tmp_path, monkeypatch):
    """One was trained alone for two epochs, one to the end, three not at all: then all go on together."""
    data, test = pictures(20), pictures(16, seed=5)
    _, teacher = networks(data)
    for i, batch in ((0, 8), (1, 99)):
        with monkeypatch.context() as patch:
            Stop(patch, batch=batch)
            try:
                distill(
                    students(data)[i],
                    teacher,
                    data,
                    test,
                    method=CLASS[i],
                    recipe=RECIPES[i],
                    out=tmp_path / str(i + 1),
                    **SETTINGS,
                )
            except KeyboardInterrupt:
                assert i == 0
    runs = together(out=tmp_path)
    for number, (run, lone) in enumerate(zip(runs, alone, strict=True), start=1):
        assert same(state(run.network), state(lone.network)) and strip(run.history) == strip(lone.history)
        saved = load_saved(tmp_path / str(number) / RESUME_FILE)
        assert len(saved["history"]) == 3
        assert any("momentum_buffer" in entry for entry in saved["optimizer"]["state"].values())


def test_one_method_and_one_recipe_serve_all():
    data = pictures(16)
    _, teacher = networks(data)
    pair = [create_network("resnet8", data, projection=True, seed=seed) for seed in (0, 1)]
    runs = distill(pair, teacher, data, recipe=Recipe(ss=1.0), **SETTINGS)
    assert [run.summary["card"]["plan"]["recipe"]["ss"] for run in runs] == [1.0, 1.0]
    assert not same(state(runs[0].network), state(runs[1].network))
    (single,) = distill(students(data, ["ce"]), teacher, data, method="ce", **SETTINGS)
    assert single.summary["card"]["method"] == "ce"


def test_lists_that_do_not_fit_are_refused(tmp_path):
    data = pictures(16)
    student, teacher = networks(data)
    other = create_network("resnet8", data, projection=True, seed=9)
    cases = [
        (dict(students=[student, other], method=["sskd"]), "2 students and 1 entries in method"),
        (dict(students=[student, other], recipe=[None] * 3), "2 students and 3 entries in recipe"),
        (dict(students=[student, other], out=[tmp_path, tmp_path]), "same output folder"),
        (dict(students=[student, student]), "different"),
        (dict(students=[]), "one network or a list"),
        (dict(students=[student, other], method=["sskd", "skd"]), "Did you mean 'sskd'"),
    ]
    before = state(student)
    for settings, words in cases:
        with pytest.raises(ValueError, match=words):
            distill(teacher=teacher, train=data, **SETTINGS | settings)
    assert same(state(student), before) and list(tmp_path.iterdir()) == []


def test_epochs_show_the_same_views_whoever_looks():
    """The upright views of methods with one and with four views are the same under one seed."""
    data = pictures(12)
    seen: dict[str, list[torch.Tensor]] = {}
    _, teacher = networks(data)
    for method in ("kd", "sskd"):
        student = create_network("resnet8", data, projection=True)
        seen[method] = []
        student.register_forward_hook(
            lambda module, inputs, output, method=method: seen[method].append(inputs[0].clone())
        )
        distill(student, teacher, data, method=method, **SETTINGS)
    for one, four in zip(seen["kd"], seen["sskd"], strict=True):
        assert torch.equal(one, four[: len(one)])


# ---- one diverges --------------------------------------------------------------------------------

HUGE = create_method("at", at={"weight": 1e38})


def test_a_student_that_diverges_is_named_and_the_others_go_on(alone, tmp_path):
    data, test = pictures(20), pictures(16, seed=5)
    given, calls = students(data), Watch()
    methods = ["sskd", "kd", HUGE, "ce", HUGE]
    recipes = [*RECIPES[:2], None, None, None]
    with pytest.raises(Diverged) as error:
        distill(
            given,
            networks(data)[1],
            data,
            test,
            method=methods,
            recipe=recipes,
            out=tmp_path,
            watch=calls,
            **SETTINGS,
        )
    message = str(error.value)
    assert (
        "student 3 of 5 (resnet8, at): the loss terms ce and at stopped being a finite number in epoch 1"
        in message
    )
    assert "Also diverged: student 5 of 5 (resnet8, at)." in message
    assert "The other students were trained to the end; their files are written" in message
    assert error.value.out == tmp_path / "3"
    assert [len(seen) for seen in calls.networks] == [5, 3, 3, 3]
    for run, number in zip(error.value.runs, (1, 2, 4), strict=True):
        lone = alone[number - 1]
        assert same(state(run.network), state(lone.network)) and strip(run.history) == strip(lone.history)
        saved = load_checkpoint(tmp_path / str(number) / "student.safetensors")
        assert same(state(saved), state(lone.network))
    for number in (3, 5):
        assert metrics(tmp_path / str(number)) == []
        assert not (tmp_path / str(number) / "student.safetensors").exists()


def test_all_diverge_and_without_folders_the_other_runs_are_in_the_error():
    data = pictures(20)
    pair = students(data, ["at", "at"])
    with pytest.raises(Diverged, match=r"student 1 of 2 .*Also diverged: student 2 of 2 .*\)\.$") as error:
        distill(pair, networks(data)[1], data, method=HUGE, **SETTINGS)
    assert error.value.runs == []
    pair = students(data, ["at", "ce"])
    with pytest.raises(Diverged, match="their runs are in this error's `runs`") as error:
        distill(pair, networks(data)[1], data, method=[HUGE, "ce"], **SETTINGS)
    assert error.value.runs[0].network is pair[1]


# ---- watch ---------------------------------------------------------------------------------------


class Watch:
    """Notes each call: epochs done, the students' weights, whether each of their layers was in eval mode."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.dies_at, self.epochs, self.networks, self.weights, self.modes = dies_at, [], [], [], []

    def __call__(self, epoch: int, networks: list) -> None:
        self.epochs.append(epoch)
        self.networks.append(networks)
        self.weights.append([state(network) for network in networks])
        self.modes += [module.training for network in networks for module in network.modules()]
        for network in networks:
            predict(network, pictures(12))
        if epoch == self.dies_at:
            raise InterruptedError("enough")


def test_watch_sees_every_epoch_in_eval_mode_and_changes_nothing(alone):
    data = pictures(20)
    _, teacher = networks(data)
    given, watch = students(data), Watch()
    before = [state(student) for student in given]
    runs = distill(given, teacher, data, method=CLASS, recipe=RECIPES, watch=watch, **SETTINGS)
    assert watch.epochs == [0, 1, 2, 3] and not any(watch.modes)
    assert all(len(seen) == 5 and all(map(lambda a, b: a is b, seen, given)) for seen in watch.networks)
    assert all(map(same, watch.weights[0], before))
    for i, (run, lone) in enumerate(zip(runs, alone, strict=True)):
        assert same(state(run.network), state(lone.network)) and same(watch.weights[3][i], state(run.network))
        assert not same(watch.weights[1][i], watch.weights[2][i])


def test_watch_is_called_for_the_epochs_that_are_trained_now(alone, tmp_path):
    """The first is stopped by its watch in epoch 2, which is then not saved: the second sees it again."""
    with pytest.raises(InterruptedError):
        together(out=tmp_path, watch=Watch(dies_at=2))
    watch = Watch()
    runs = together(out=tmp_path, watch=watch)
    assert watch.epochs == [2, 3]
    for run, lone in zip(runs, alone, strict=True):
        assert same(state(run.network), state(lone.network)) and strip(run.history) == strip(lone.history)
    finished = Watch()
    together(out=tmp_path, watch=finished)
    assert finished.epochs == []


def test_watch_gets_those_who_have_done_the_epoch(tmp_path):
    data = pictures(16)
    _, teacher = networks(data)
    pair = students(data, ["ce", "ce"])
    distill(pair[1], None, data, method="ce", out=tmp_path / "2", **SETTINGS)
    pair, watch = students(data, ["ce", "ce"]), Watch()
    distill(pair, teacher, data, method="ce", out=tmp_path, watch=watch, **SETTINGS)
    assert watch.epochs == [0, 1, 2, 3] and watch.networks == [[pair[0]]] * 4
