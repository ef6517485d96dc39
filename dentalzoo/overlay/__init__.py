"""What can be done with a bundle of the task "overlay": measure it and apply it."""
