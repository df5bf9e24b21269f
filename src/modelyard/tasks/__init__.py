"""What each task takes, does and answers. Imports no framework: models come in through `tasks.model.Model`."""
