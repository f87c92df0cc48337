"""The tags of a model version that mien reads again."""

from typing import Final

IDENTITY: Final = "mien.identity"  # digest of weights, description, temperature and serving code
DECISION: Final = "mien.decision."  # + the decision's key: the gate's decision as JSON
DONE: Final = "mien.carried_out."  # + the decision's key, when aliases and history say the same
