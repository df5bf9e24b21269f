"""Hugging Face's APIs below `/hf/{org}/{model}`: every task as its `InferenceClient` asks for it, and the paths of its
servers of texts and of vectors. A file per way of asking; `bodies` and `answers` are pure."""
