"""The engine over HTTP, in the shapes of OpenAI's interface; it needs no chain."""
