"""The process that asks providers of closed models, and what it is asked. Only `library` meets their library."""
