"""The upstream source: its pin, the submodule, the patch series, and the trees made of them. Standard library only."""
