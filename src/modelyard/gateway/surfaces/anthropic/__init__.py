"""Anthropic's API, `/v1/messages`: conversations in its blocks and events, for its clients and agents built on it."""
