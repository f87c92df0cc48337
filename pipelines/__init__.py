"""Pipeline stages, which run the code of their own checkout.

DVC runs a queued experiment in a copy of the checkout, and an editable install points to the checkout that it was made
in: without this an experiment would run what stands there at that moment, and be filed under the code of its copy.
"""

import os
import sys
from pathlib import Path

_SOURCE = str(Path(__file__).resolve().parent.parent / "src")
sys.path.insert(0, _SOURCE)
# For the processes that a stage starts.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_SOURCE, os.environ.get("PYTHONPATH"))))
