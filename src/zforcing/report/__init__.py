"""What a person looks at: learning curves, and a page about runs."""
