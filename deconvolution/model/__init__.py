"""The native deconvolution, one module a step (native.py has their order)."""
