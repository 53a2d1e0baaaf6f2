"""Running the user's code on tensors without data: one pure graph, with the line that every operator came from."""
