"""The executor of a device: frozen shapes, kernels in graphs, adapters copied beside the steps."""
