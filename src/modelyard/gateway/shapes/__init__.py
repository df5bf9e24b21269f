"""What clients send and read, as Structs: a file per noun, each with the functions that make its shapes of records."""
