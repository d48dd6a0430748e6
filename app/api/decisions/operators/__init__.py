"""What operators of decisions ask for and set: policies, models, logs and evaluations."""
