"""All that faces a notebook: figures, explorers, recorded runs, start-up and the doctor.

`__init__.pyi` lists the names. Each is loaded when it is first used, because the doctor must also run where
matplotlib is missing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
