"""What holds for all tests."""

import signal
import threading

from hypothesis import settings

# A machine that is busy with something else makes no test wrong.
settings.register_profile("regard", deadline=None)
settings.load_profile("regard")

# Shells let jobs in the background ignore interrupts, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
