"""Both of Lightning's packages are imported before anything of ours.

Up to Lightning 2.4 a Trainer takes callbacks of its own package alone. Ours is one of each that is there.
"""

import lightning.pytorch
import pytorch_lightning

__all__ = ["lightning", "pytorch_lightning"]
