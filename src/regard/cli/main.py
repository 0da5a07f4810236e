"""The command `regard`: finds the command, runs it, and turns what went wrong into words and an exit status.

0 done; 2 the user's input or options; 1 the work failed; 130 interrupted (SIGINT), 143 ended (SIGTERM). A command
is imported when it is run: help loads no torch.
"""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from regard import __version__
from regard.cli.inputs import split_recipe_options
from regard.cli.streams import complain
from regard.errors import InputError, WorkError

COMMANDS = {
    "demo": "Train a translator on the embedded phrasebook in a minute or two, and look into it.",
    "train": "Train a translator on parallel sentences.",
    "translate": "Translate lines of text.",
    "evaluate": "Measure loss, BLEU, chrF and alignment error rate on a test set.",
    "score": "Print the log-probability of each translation.",
    "align": "Print which words of each pair belong together, as Pharaoh links.",
    "look": "Show which words of the input each word of the output used.",
    "compare": "Train several models on the same data and budget, and compare them.",
    "info": "Tell what a run is, what it was trained on, and how it scored.",
}
"""Every command and what it does, in the order of its help; `cli/NAME.py` has a function `run`."""


def build_app() -> App:
    """Build the command line."""
    app = App(
        name="regard",
        version=__version__,
        help="Train attention models on your own data, use them, and see what they attend to.",
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
    )
    for name, text in COMMANDS.items():
        app.command(f"regard.cli.{name}:run", name=name, help=text)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        status = build_app()(split_recipe_options(given))
        sys.stdout.flush()
    except (CycloptsError, InputError) as error:
        complain(str(error))
        return 2
    except WorkError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        complain("Interrupted.")
        return 130
    except BrokenPipeError:
        # Who read our output has left, as `head` does. Python would complain once more while it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status if isinstance(status, int) else 0


def entry() -> None:
    """Be the console script."""
    sys.exit(main())
