"""How near a variant's answers are to its original's: on shipped text and pictures, in figures that users feel."""
