"""The shared decoder: configuration, weights, tokenizer and the computation itself."""
