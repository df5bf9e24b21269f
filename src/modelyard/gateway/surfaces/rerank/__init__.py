"""Rankings in the shapes that people's clients know: Cohere's `/v1/rerank` and `/v2/rerank`, and `/v1/score`."""
