"""Talking to OpenAI-compatible chat servers: settings, requests, replies, and what was paid for."""
