"""What keeps a worker from everything but its model: applied by the worker itself, before it reads anything of it."""
