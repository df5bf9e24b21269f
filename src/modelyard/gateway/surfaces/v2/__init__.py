"""The v2 surface, `/models/v2/*`: clusters, lists and inference in one envelope `{"error", "output"}`."""
