"""From the graph of tensors to kernels: which share one, what each computes, what is computed twice."""
