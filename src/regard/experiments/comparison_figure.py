"""A comparison as a picture: BLEU by source length (Bahdanau et al. 2015, figure 2), and validation against minutes."""

import io
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from regard.experiments.comparison import Comparison
from regard.files import write_whole

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Of Okabe and Ito (2008), told apart by color-blind people too; the marks differ as well."""

MARKS = "osD^vPX"


def save_figure(comparison: Comparison, path: Path) -> None:
    """Draw a comparison into a PNG."""
    curve = validation_score(comparison)
    written = io.BytesIO()
    with style.context("default"):  # not the style of who runs it
        figure = Figure(figsize=(11.0 if curve else 6.0, 4.5), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        places = figure.subplots(1, 2 if curve else 1, squeeze=False)[0]
        draw_lengths(places[0], comparison)
        if curve:
            draw_training(places[1], comparison, curve)
        figure.savefig(written, format="png", metadata={"Software": None})
    write_whole(path, written.getvalue())


def draw_lengths(axes: Axes, comparison: Comparison) -> None:
    """Draw BLEU with its interval over sentences by the length of the source."""
    for number, model in enumerate(comparison.models):
        found = [length.scores["bleu"] for length in model.lengths]
        means = [one.mean for one in found]
        below = [max(0.0, one.mean - one.low) for one in found]
        above = [max(0.0, one.high - one.mean) for one in found]
        aside = 0.06 * (number - (len(comparison.models) - 1) / 2)  # so that no interval hides another
        axes.errorbar(
            [place + aside for place in range(len(found))],
            means,
            yerr=[below, above],
            color=COLORS[number % len(COLORS)],
            marker=MARKS[number % len(MARKS)],
            capsize=3,
            label=plain(model.name),
        )
    lengths = comparison.models[0].lengths
    axes.set_xticks(range(len(lengths)), [f"{length.name}\n({length.sentences:,})" for length in lengths])
    axes.set_xlabel("words of the source (sentences)")
    axes.set_ylabel("BLEU, interval of 95 % over sentences")
    axes.set_ylim(bottom=0)
    finish(axes)


def validation_score(comparison: Comparison) -> str | None:
    """Return what every validation of every model measured and says most: a decoded score, else the loss."""
    measured = [set(at.scores) for model in comparison.models for trial in model.trials for at in trial.validations]
    shared = set.intersection(*measured) if measured else set()
    return next((name for name in ("bleu", "chrf", "loss") if name in shared), None)


def draw_training(axes: Axes, comparison: Comparison, score: str) -> None:
    """Draw what validation measured against the minutes of training, a line a seed."""
    for number, model in enumerate(comparison.models):
        for place, trial in enumerate(model.trials):
            axes.plot(
                [at.minutes for at in trial.validations],
                [at.scores[score] for at in trial.validations],
                color=COLORS[number % len(COLORS)],
                marker=MARKS[number % len(MARKS)],
                markersize=3,
                alpha=0.8,
                label=None if place else plain(model.name),
            )
    axes.set_xlabel("minutes of training")
    axes.set_ylabel({"bleu": "BLEU", "chrf": "chrF"}.get(score, "loss") + " on the validation set")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    finish(axes)


def finish(axes: Axes) -> None:
    """Give a panel its legend and grid."""
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def plain(name: str) -> str:
    """Keep a name from being read as a formula, or as one that is hidden from the legend."""
    return " " + name.replace("$", r"\$") if name.startswith("_") else name.replace("$", r"\$")
