"""Long-context decoding on consumer hardware: llama.cpp with attention that stops early."""

__version__ = "0.1.0"
