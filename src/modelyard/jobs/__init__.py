"""Models on request: a queue of jobs that fetch, export and measure them."""
