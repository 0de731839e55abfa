"""What is learned: tasks as pure functions of a state and a batch."""
