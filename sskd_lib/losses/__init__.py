"""Loss terms, one paper per file, and the methods made of them."""

from ..data.batch import Batch
from .kd import kd_loss, kl_rows, soften
from .method import Method, Needs, Sum, Term
from .pretext import TASKS, create_task
from .registry import BASES, METHODS, PRETEXTS, TERMS, create_method, create_term
from .sskd import (
    contrastive_floor,
    contrastive_loss,
    error_rank,
    image_of_row,
    selected_kl,
    similarity_matrix,
    sskd_terms,
    transfer_mask,
)

__all__ = [
    "BASES",
    "METHODS",
    "PRETEXTS",
    "TASKS",
    "TERMS",
    "Batch",
    "Method",
    "Needs",
    "Sum",
    "Term",
    "contrastive_floor",
    "contrastive_loss",
    "create_method",
    "create_task",
    "create_term",
    "error_rank",
    "image_of_row",
    "kd_loss",
    "kl_rows",
    "selected_kl",
    "similarity_matrix",
    "soften",
    "sskd_terms",
    "transfer_mask",
]
