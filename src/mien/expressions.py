"""The seven expressions, in the one order that every table, model and report uses.

The order is that of FER2013 (Goodfellow et al., 2013) and of ExpW (Zhang et al., 2016), whose
label files hold the position in this tuple.
"""

from typing import Final

EXPRESSIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
N_EXPRESSIONS: Final = len(EXPRESSIONS)
