"""Pruning a translator: its model, and the alignment that is read from one of its heads."""

import dataclasses
from collections.abc import Mapping, Sequence

from regard.errors import OptionError
from regard.inspection.effects.pruning import prunable, prune
from regard.tasks.translator import Translator


def prune_translator(translator: Translator, heads: Mapping[str, Sequence[int]]) -> None:
    """Take heads out of a translator's model for good; the head of its alignment keeps its meaning.

    `save_run` remembers what is gone.

    Raises:
        OptionError: The alignment is read from one of the heads, or the layers that attend to the source would have
            different numbers of heads; or the model cannot be pruned so.
    """
    model, site = translator.model, translator.site
    gone = {prunable(model, name).name: sorted(numbers) for name, numbers in heads.items() if len(numbers)}
    left = {name: prunable(model, name).heads - len(gone.get(name, ())) for name in model.alignment_sites()}
    if len(set(left.values())) > 1:
        told = ", ".join(f"{name} {number}" for name, number in left.items())
        raise OptionError(
            f"The layers that attend to the source would have different numbers of heads ({told}); a translator shows "
            "them as one table. Prune as many of each."
        )
    lost = gone.get(site.layer, []) if site is not None else []
    if site is not None and site.head in lost:
        raise OptionError(
            f"The alignment is read from head {site.head} of {site.layer}, which cannot go. Keep it, or set "
            "translator.site to another first."
        )
    prune(model, heads)
    if site is not None and site.head is not None:
        before = sum(head < site.head for head in lost)
        translator.site = dataclasses.replace(site, head=site.head - before)
