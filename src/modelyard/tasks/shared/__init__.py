"""What several tasks have in common: inputs they read alike, settings, decoding, scores."""
