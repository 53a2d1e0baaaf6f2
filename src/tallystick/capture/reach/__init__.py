"""What the user's code reaches outside of the arguments of a step: objects that keep state, modules, generators."""
