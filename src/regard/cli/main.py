"""The command `regard`: finds the command, runs it, and turns what went wrong into words and an exit status.

0 done; 2 the user's input or options; 1 the work failed; 130 interrupted (SIGINT), 143 ended (SIGTERM). A command
is imported when it is run: help loads no torch.
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from cyclopts import App, CycloptsError, Parameter

from regard import __version__
from regard.cli.inputs import split_recipe_options
from regard.cli.streams import STANDARD_OUTPUT, complain, telling
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
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative=""),
    )
    for place, (name, text) in enumerate(COMMANDS.items()):
        app.command(f"regard.cli.{name}:run", name=name, help=text, sort_key=place)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        status = build_app()(split_recipe_options(given))
        with telling(STANDARD_OUTPUT):
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
    except Ended:
        complain("Ended.")
        return 143
    except BrokenPipeError:
        # Who read our output has left, as `head` does. Python would complain once more while it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (MemoryError, OSError, RuntimeError) as error:
        complain(failure(error))
        return 1
    return status if isinstance(status, int) else 0


def failure(error: Exception) -> str:
    """Say what the machine could not do; what is our own fault is raised on."""
    lacking = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if lacking or "can't allocate memory" in str(error):
        return "There is not enough memory. A smaller --batch-size needs less."
    if isinstance(error, OSError):
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}{error.strerror or error}."
    raise error


class Ended(BaseException):
    """SIGTERM came: the command leaves as it does on SIGINT, with its unfinished files removed."""


def end(number: int, frame: FrameType | None) -> None:
    """Leave on SIGTERM."""
    raise Ended


def entry() -> None:
    """Be the console script.

    Idle threads of OpenMP are to look for work a moment and then to sleep: where anything else runs on the machine, two
    threads that wait for each other in a loop make training five times as slow. It must be said before torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    signal.signal(signal.SIGTERM, end)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main())
