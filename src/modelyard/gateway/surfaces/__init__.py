"""One file per API that clients speak: its bodies, answers, stream pieces and errors."""
