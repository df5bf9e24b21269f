"""Where an inference can be sent."""
