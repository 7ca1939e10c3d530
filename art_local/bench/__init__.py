"""Measuring decoding speed with the built llama-bench, and what is made of the results."""
