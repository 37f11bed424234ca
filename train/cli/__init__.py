"""The command lines of training: data, train, evaluate."""
