"""What must survive a kill -9: accounts, keys, clusters, the instance ledger, events and what was learnt of models.

Owns every SQL statement of the program. Decides nothing: it keeps what it is told and answers what it is asked.
"""

from modelyard.store.ids import new_id
from modelyard.store.store import Store

__all__ = ["Store", "new_id"]
