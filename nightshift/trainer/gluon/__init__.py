"""Tables by AutoGluon: a small ensemble with fixed rounds, as large as the target has room for."""
