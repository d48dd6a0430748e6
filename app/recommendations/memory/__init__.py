"""What a worker holds: documents, columns, factors, and what it has answered lately."""
