"""OpenAI's API, `/v1/*` and `/models/v2/openai/v1/*`: a translation to the one inference and back, a file per call."""
