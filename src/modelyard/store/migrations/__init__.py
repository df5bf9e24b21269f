"""How the tables came to be: an Alembic environment. `versions/` holds one small file for each step, never edited."""
