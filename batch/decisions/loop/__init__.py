"""From the log to a model: join, learn, write down, publish; each decision exactly once."""
