"""The v1 surface, `/model/*`: one model at a time, with bare bodies (seed 003)."""
