"""One module a page: the functions that its executed blocks call."""
