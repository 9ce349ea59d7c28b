"""SSKD teaching kit: knowledge distillation meets self-supervision (Xu, Liu, Li, Loy, ECCV 2020).

images → views → teacher and student → a weighted sum of loss terms. Start at notebooks/00_start_here.ipynb.
"""

from . import losses
from .data.folder import make_shards
from .data.images import ImageSet
from .data.load import load_images
from .data.views import four_views, one_view
from .evaluation import agreement, contrastive_accuracy, evaluate, linear_cka, predict, pretext_accuracy
from .files import CheckpointError
from .losses import METHODS, create_method
from .models import MODELS, create_model
from .models.checkpoint import load_checkpoint, read_card, save_checkpoint
from .models.network import Network, Output
from .recipes import HEAD, IMAGENET, PRESETS, SHORT, STUDENT, Recipe, Schedule
from .runtime.device import Runtime, choose_runtime
from .training import create_network, distill, train_head, train_teacher
from .training.estimate import estimate
from .training.state import Run, TrainingError
from .training.teacher_cache import TeacherTable, cache_teacher, open_table

__version__ = "0.1.0"

__all__ = [
    "HEAD",
    "IMAGENET",
    "METHODS",
    "MODELS",
    "PRESETS",
    "SHORT",
    "STUDENT",
    "CheckpointError",
    "ImageSet",
    "Network",
    "Output",
    "Recipe",
    "Run",
    "Runtime",
    "Schedule",
    "TeacherTable",
    "TrainingError",
    "agreement",
    "cache_teacher",
    "choose_runtime",
    "contrastive_accuracy",
    "create_method",
    "create_model",
    "create_network",
    "distill",
    "estimate",
    "evaluate",
    "four_views",
    "linear_cka",
    "load_checkpoint",
    "load_images",
    "losses",
    "make_shards",
    "one_view",
    "open_table",
    "predict",
    "pretext_accuracy",
    "read_card",
    "save_checkpoint",
    "train_head",
    "train_teacher",
]
