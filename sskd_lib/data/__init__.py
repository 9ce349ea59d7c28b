"""Image sets, where they come from, and the views that a network sees."""

from .images import ImageSet
from .load import DATA_FOLDER, load_images
from .views import four_views, one_view

__all__ = ["DATA_FOLDER", "ImageSet", "four_views", "load_images", "one_view"]
