"""What `holter doctor` looks at: each module proves one kind of thing by having it work once."""
