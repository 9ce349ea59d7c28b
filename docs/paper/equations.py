"""The equations of the paper, and the selection, which has no number."""

from __future__ import annotations

from .entry import Entry
from .rows import few

KD, SSKD = "sskd_lib/losses/kd.py", "sskd_lib/losses/sskd.py"
TEST_KD, TEST_SSKD = "tests/losses/test_kd.py", "tests/losses/test_sskd.py"
SELECTION, SECOND = "tests/losses/test_selection.py", "tests/losses/test_second_author.py"

EQUATIONS = (
    Entry(
        number="Eq. 1",
        title="softened outputs",
        says="The scores of the classes, divided by a temperature τ, become probabilities by the softmax.",
        notebooks=("01 · Temperature",),
        code=(f"{KD}::soften",),
        tests=(
            f"{TEST_KD}::test_soften_equals_the_loop_sums_to_one_and_obeys_the_scale_rule",
            f"{TEST_KD}::test_soften_by_hand_and_at_the_extremes",
        ),
        checked="A loop in float64 and a case worked by hand give the same numbers.",
    ),
    Entry(
        number="Eq. 2",
        title="L_kd, soft targets",
        says="The student imitates the teacher's softened outputs on upright images: their cross-entropy, "
        "times τ².",
        notebooks=("01 · The loss", "01 · The gradient, and why τ²"),
        code=(f"{KD}::kd_loss", f"{KD}::kl_rows"),
        tests=(
            f"{TEST_KD}::test_kd_loss_and_its_gradient_equal_the_loops",
            f"{TEST_KD}::test_kd_loss_by_hand",
            f"{SECOND}::test_soft_targets",
        ),
        checked="Value and gradient equal a loop in float64; the value equals torchdistill's. The kit has "
        "the KL divergence: the cross-entropy minus the teacher's entropy, which no student changes. The "
        "kit takes the mean over images, where the paper has a sum.",
    ),
    Entry(
        number="Eq. 3",
        title="labels and soft targets together",
        says="KD's student minimises a weighted sum of the cross-entropy with the labels and L_kd. That "
        "soft targets help is older than this paper (Hinton et al. 2015).",
        notebooks=("01 · Two students",),
        code=(f"{KD}::KD",),
        tests=("tests/losses/test_bases.py::test_kd_sums_labels_and_soft_targets",),
        checked="The sum equals the one of its parts.",
        measured=tuple(
            few(setting, epochs, "kd", "ce") for setting in ("fashion", "cifar10") for epochs in (60, 240)
        ),
        reading="Few labels, small networks.",
        not_tested="CIFAR-100 with all labels.",
    ),
    Entry(
        number="Eq. 4",
        title="similarity matrix",
        says="For each transformed image and each image of the batch: the cosine of their projections.",
        notebooks=("02 · A question whose answer is free", "03 · One matrix"),
        code=(f"{SSKD}::similarity_matrix",),
        tests=(
            f"{SELECTION}::test_similarity_equals_the_loop_in_both_precisions",
            f"{TEST_SSKD}::test_two_images_matrix_and_masks_by_hand",
        ),
        checked="Equal to a loop in float32 and float64, and to a case worked by hand. Rows are turned "
        "views, three for each image, as in the published code.",
    ),
    Entry(
        number="Eq. 5",
        title="the task of the teacher's head",
        says="The head learns to find the image that a transformed one was made of, by cross-entropy on a "
        "row of the matrix at a temperature τ. The teacher's other layers stay as they are.",
        notebooks=("02 · Train a head", "02 · The batch is part of the task"),
        code=(f"{SSKD}::contrastive_loss", "sskd_lib/training/head.py::train_head"),
        tests=(
            f"{SELECTION}::test_contrastive_loss_and_hits_equal_the_loop",
            f"{SELECTION}::test_contrastive_loss_by_hand_reaches_its_floor_with_two_images",
            f"{SECOND}::test_the_task_of_the_teachers_head",
        ),
        checked="Equal to a loop, to a case worked by hand and to torchdistill's. The kit has τ = 1, as the "
        "published code has.",
    ),
    Entry(
        number="Eq. 6",
        title="L_ss, imitate the similarity matrix",
        says="The rows of the teacher's matrix and of the student's are softened, and the student imitates "
        "the teacher's, times τ².",
        notebooks=("03 · From a row to a distribution", "03 · The loss between two matrices"),
        code=(f"{SSKD}::sskd_terms", f"{SSKD}::selected_kl"),
        tests=(
            f"{TEST_SSKD}::test_terms_and_gradients_equal_the_published_procedure",
            f"{TEST_SSKD}::test_two_images_terms_by_hand",
            f"{SELECTION}::test_selected_kl_is_the_mean_over_kept_rows",
            f"{SECOND}::test_sskd",
        ),
        checked="Value and gradients equal the published procedure, written out as loops; the value equals "
        "a case worked by hand, and torchdistill's. What L_ss is worth: see Abstract, 1.",
    ),
    Entry(
        number="Eq. 7",
        title="L_T, soft targets on transformed images",
        says="The student imitates the teacher's softened outputs on the transformed images too.",
        notebooks=("04 · The four terms",),
        code=(f"{SSKD}::sskd_terms", f"{SSKD}::kd_rotations"),
        tests=(
            f"{TEST_SSKD}::test_terms_and_gradients_equal_the_published_procedure",
            f"{TEST_SSKD}::test_two_images_terms_by_hand",
            "tests/losses/test_bases.py::test_kd_with_rotations_is_sskd_without_ss",
        ),
        checked="As for L_ss. What L_T is worth: see Fig. 3b.",
    ),
    Entry(
        number="Eq. 8",
        title="the student's loss",
        says="The student minimises a weighted sum of the four terms: labels, L_kd, L_ss and L_T.",
        notebooks=("00 · The idea of SSKD in one figure", "04 · The four terms"),
        code=(f"{SSKD}::sskd_terms", "sskd_lib/training/step.py::train_step", "sskd_lib/recipes.py::Recipe"),
        tests=(
            f"{TEST_SSKD}::test_terms_and_gradients_equal_the_published_procedure",
            "tests/training/test_step.py::test_one_step_of_sskd_by_hand",
            "tests/test_recipes.py::test_presets_are_the_published_ones",
        ),
        checked="A whole training step equals one that is written out by hand. The paper, its supplement "
        "and its code have different weights: see Appendix 6.4.",
    ),
    Entry(
        number="Section 3.3",
        title="selective transfer, the rule",
        says="All right answers of the teacher are imitated. Its wrong answers are put in order of how "
        "wrong they are, and the first k per cent of them are imitated.",
        notebooks=("03 · How wrong is a wrong row?", "04 · Error rank, and which rows are kept"),
        code=(f"{SSKD}::error_rank", f"{SSKD}::transfer_mask"),
        tests=(
            f"{SELECTION}::test_error_rank_counts_the_columns_above_the_target",
            f"{SELECTION}::test_transfer_mask_equals_the_loop",
            f"{SELECTION}::test_transfer_mask_by_hand",
        ),
        checked="Equal to a loop and to a case worked by hand. The kit selects as the published code does "
        "since July 2020; which code made the paper's tables is unknown. Which k is best: see Table 1.",
    ),
)
