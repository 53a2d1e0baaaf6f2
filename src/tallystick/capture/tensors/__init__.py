"""What lowerings describe: tensors as views of a graph of scalar expressions over loop axes."""
