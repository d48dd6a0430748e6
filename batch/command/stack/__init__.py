"""All of Larder on one machine, for as long as a command runs."""
