"""regard: train attention models on your own data, use them, and see what they attend to.

    load(path)                      what `regard train` wrote, ready to translate, score and align
    lens(model)                     what any PyTorch model attends to
    attend(query, key, value)       attention, with any score, bias, mask and normalizer
    attention_weights, mix          the two steps of it
    Attention                       the same as a module

The names are resolved when they are first used, so that `import regard` and the command's help load no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.attention.attend import Attention as Attention
    from regard.attention.attend import attend as attend
    from regard.attention.attend import attention_weights as attention_weights
    from regard.attention.attend import mix as mix
    from regard.inspection.lens import lens as lens
    from regard.tasks.load import load as load

__version__ = "0.1.0"

HOMES = {
    "Attention": "regard.attention.attend",
    "attend": "regard.attention.attend",
    "attention_weights": "regard.attention.attend",
    "mix": "regard.attention.attend",
    "lens": "regard.inspection.lens",
    "load": "regard.tasks.load",
}

__all__ = ["Attention", "attend", "attention_weights", "lens", "load", "mix"]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'regard' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
