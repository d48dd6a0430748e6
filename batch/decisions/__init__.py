"""Learn from decisions and their rewards: join, train, publish, and judge policies by the logs."""
