"""What early termination costs: quality against exact attention, decoded token by token through the kernels that a user runs."""
