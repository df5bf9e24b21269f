"""The nouns that cross package borders, as frozen records, a file per noun."""
