"""The figures with results, and the other claims of the paper."""

from __future__ import annotations

from .entry import Entry
from .rows import CROSS, SIMILAR, everywhere, few, head, short, weights, zoo

SSKD, PLAN = "sskd_lib/losses/sskd.py", "sskd_lib/reproduce/plan.py"
SELECTION, TEST_PLAN = "tests/losses/test_selection.py", "tests/reproduce/test_plan.py"

FIGURES = (
    Entry(
        number="Fig. 3a",
        title="maps of the students' features",
        says="t-SNE maps of students' features are shown as evidence that SSKD's features are better.",
        notebooks=("05 · The same teacher twice", "05 · One softmax per image"),
        code=("sskd_lib/lab/tsne.py::embed", "sskd_lib/lab/atlas_data.py::atlas_maps"),
        tests=("tests/lab/test_atlas_maps.py::test_each_space_is_mapped_by_its_equation",),
        not_tested="the figure's networks. Notebook 05 shows why two maps are weak evidence: two maps of "
        "one network differ as well.",
    ),
    Entry(
        number="Fig. 3b",
        title="does each term help?",
        says="L_T helps, and L_ss helps on top of it. (The bars' values were not found in print.)",
        notebooks=("04 · What recorded runs say", "08 · What does each term add?"),
        code=(f"{SSKD}::kd_rotations", "sskd_lib/lab/recorded_tables.py::term_gains"),
        tests=(
            "tests/losses/test_bases.py::test_kd_with_rotations_is_sskd_without_ss",
            "tests/lab/test_recorded_tables.py::test_what_a_term_adds_in_each_mix",
        ),
        measured=(
            *everywhere("kd+rotations", "kd"),
            weights("all four terms − without L_T", {}, {"tf": 0.0}),
            weights("all four terms − without L_ss", {}, {"ss": 0.0}),
            weights("labels, L_kd and L_ss − labels and L_kd", {"tf": 0.0}, {"ss": 0.0}),
        ),
        reading="KD+rotations is SSKD without L_ss, so the first lines show what L_T adds to KD. What L_ss "
        "adds to both: see Abstract, 1.",
        not_tested="CIFAR-100; larger students.",
    ),
    Entry(
        number="Fig. 4a",
        title="few labels",
        says="The fewer images there are, the larger is SSKD's lead: about 7 points with a quarter of "
        "CIFAR-100. (The curve's values were not found in print.)",
        notebooks=("00 · A short training", "04 · What recorded runs say"),
        code=("sskd_lib/data/images.py::ImageSet.take", f"{PLAN}::TABLES"),
        tests=(
            "tests/data/test_images.py::test_take_is_balanced_and_keeps_order",
            f"{TEST_PLAN}::test_conditions_change_the_images",
        ),
        measured=(
            short("fashion-100", "sskd", "kd"),
            short("fashion-300", "sskd", "kd"),
            few("fashion", 240, "sskd", "kd"),
            few("cifar10", 240, "sskd", "kd"),
            zoo(SIMILAR, "sskd", "crd", epochs=60),
        ),
        reading="Far fewer labels than a quarter of CIFAR-100, and fewer classes. Other lengths, where less "
        "or nothing is gained: see Abstract, 2.",
        not_tested="a quarter, a half and three quarters of CIFAR-100; more labels, where the lead should "
        "shrink.",
    ),
    Entry(
        number="Fig. 4b",
        title="wrong labels",
        says="With up to half of the labels wrong, SSKD loses 0.45 points. (The curve's values were not "
        "found in print.)",
        notebooks=(),
        code=("sskd_lib/data/images.py::ImageSet.with_label_noise", f"{PLAN}::TABLES"),
        tests=(
            "tests/data/test_images.py::test_label_noise_changes_exactly_the_share",
            f"{TEST_PLAN}::test_conditions_change_the_images",
        ),
        not_tested="no run with wrong labels is recorded. `reproduce --table noisy` trains them.",
    ),
)

CLAIMS = (
    Entry(
        number="Abstract, 1",
        title="the self-supervised task adds knowledge",
        says="How the teacher answers a self-supervised task is knowledge that its soft answers do not "
        "have, and the student gains by it.",
        notebooks=(
            "00 · A short training",
            "04 · The full student, live",
            "09 · Equal views, another length",
        ),
        code=(f"{SSKD}::SSKD", f"{SSKD}::kd_rotations"),
        tests=(
            "tests/losses/test_bases.py::test_kd_with_rotations_is_sskd_without_ss",
            "tests/docs/test_results.py::test_the_words_about_l_ss_hold_at_every_length",
        ),
        measured=everywhere("sskd", "kd+rotations"),
        reading="KD+rotations is SSKD without L_ss: the same four views, the same soft targets. Only this "
        "difference belongs to the self-supervised task. An interval that contains zero is no proof that "
        "there is no effect; it shows how large an effect could be hidden.",
        not_tested="many classes with all labels, where L_ss may be worth more.",
    ),
    Entry(
        number="Abstract, 2",
        title="SSKD improves on KD",
        says="SSKD gives better students than KD.",
        notebooks=("04 · What recorded runs say", "09 · One seed, three seeds, ten seeds"),
        code=(f"{SSKD}::SSKD", "sskd_lib/losses/kd.py::KD"),
        tests=("tests/docs/test_results.py::test_gains_over_kd_as_the_text_rounds_them",),
        measured=(
            *everywhere("sskd", "kd"),
            *(few(setting, 60, "sskd", "kd", other_epochs=240) for setting in ("cifar10", "fashion")),
        ),
        reading="All lines but the last two compare equal numbers of epochs. SSKD's student sees four views "
        "of each image in an epoch, KD's sees one. In the last two lines both saw as many views.",
        not_tested="CIFAR-100 and ImageNet.",
    ),
    Entry(
        number="Section 1",
        title="any teacher for any student",
        says="Only outputs of the last layers are imitated, so teacher and student may be of any two "
        "families.",
        notebooks=("07 · A map of two dozen methods",),
        code=(f"{SSKD}::sskd_terms", "sskd_lib/models/heads.py::two_layers"),
        tests=(
            "tests/losses/test_sskd.py::test_terms_and_gradients_equal_the_published_procedure",
            f"{TEST_PLAN}::test_every_method_of_a_table_fits_every_pair_of_it",
        ),
        checked="The terms need logits and projections alone. They equal the published procedure where the "
        "two projections have different widths too. The methods that need more fit all pairs of Tables 3 "
        "and 4.",
        measured=(zoo(CROSS, "sskd", "kd"), zoo(CROSS, "sskd", "fitnet"), zoo(SIMILAR, "sskd", "fitnet")),
        reading="FitNet imitates inner maps, and needs an adapter for them.",
        not_tested="longer trainings of the pair of two families.",
    ),
    Entry(
        number="Section 3.2, 1",
        title="a head on a frozen teacher",
        says="The teacher is trained on labels first. Then its layers are frozen, and only a small head "
        "learns the self-supervised task.",
        notebooks=("02 · Is that good?", "02 · Train a head"),
        code=("sskd_lib/training/head.py::train_head", "sskd_lib/training/head.py::FrozenBackbone"),
        tests=(
            "tests/training/test_train.py::test_training_the_head_leaves_the_backbone_as_it_was",
            "tests/training/test_step.py::test_a_step_is_one_joint_forward_and_the_teacher_stays_frozen",
        ),
        checked="Only the head changes.",
        measured=(head("untrained"), head("half trained")),
        reading="Does it matter what the head has learned? The same students, with the shipped head of the "
        "teacher and with worse ones: random weights, or 1,000 images for five epochs.",
        not_tested="a teacher that learns both tasks together; long trainings.",
    ),
    Entry(
        number="Section 3.2, 2",
        title="four kinds of transformation",
        says="Images are transformed by rotation, by random crops, by a change of colours, and by removing "
        "colour.",
        notebooks=("02 · Four views of one image",),
        code=("sskd_lib/data/views.py::four_views", "sskd_lib/data/views.py::cut"),
        tests=(
            "tests/data/test_views.py::test_plain_views_are_rot90_of_the_pixels_over_255",
            "tests/data/test_views.py::test_each_view_is_a_whole_shift_of_the_flipped_or_unflipped_image",
        ),
        checked="The kit has rotation alone, each view with its own crop, as the published code has. One of "
        "the authors wrote that the results are nearly the same (issue 2 of their repository).",
        not_tested="changes of colour.",
    ),
    Entry(
        number="Section 3.3, 2",
        title="wrong answers have structure",
        says="The teacher often answers the self-supervised task wrongly, but its wrong answers show which "
        "images it finds similar, in content and in pose.",
        notebooks=("03 · Teacher similarity matrices", "03 · How wrong is a wrong row?"),
        code=(f"{SSKD}::error_rank", "sskd_lib/evaluation.py::contrastive_accuracy"),
        tests=(
            f"{SELECTION}::test_error_rank_counts_the_columns_above_the_target",
            "tests/test_evaluation.py::test_contrastive_accuracy_equals_the_loop_and_leaves_a_short_batch_out",
        ),
        not_tested="several teachers. Notebook 03 begins with one: most of its wrong rows pick an image of "
        "the same class. Whether this reaches the student: see Abstract, 1.",
    ),
    Entry(
        number="Appendix 6.4",
        title="the weights of the terms",
        says="λ is 0.1 for labels, 0.9 for L_kd, 2.7 for L_ss and 10 for L_T. The published code has the "
        "last two the other way round; the ECCV supplement has 3 and 5.",
        notebooks=("04 · Which weights?", "08 · What does each term add?"),
        code=("sskd_lib/recipes.py::PRESETS", "sskd_lib/recipes.py::STUDENT"),
        tests=(
            "tests/test_recipes.py::test_presets_are_the_published_ones",
            "tests/test_recipes.py::test_student_schedule_is_the_published_one",
        ),
        measured=(
            weights("`arxiv` − `official-code`", {"tf": 10.0, "ss": 2.7}, {"tf": 2.7, "ss": 10.0}),
            weights("`eccv-supp` − `official-code`", {"tf": 5.0, "ss": 3.0}, {"tf": 2.7, "ss": 10.0}),
            weights("λ = 30 for L_ss − λ = 10", {"ss": 30.0}, {"ss": 10.0}),
        ),
        reading="A short schedule with few steps, where a large weight on turned images can be too much. "
        "`arxiv` also keeps fewer wrong answers in L_T.",
        not_tested="the paper's length of training.",
    ),
)
