"""A server that speaks OpenAI's chat protocol, routes each request, and forwards it."""
