"""The explorer over real servers, as HTTP; tests/browser has it in a Chromium."""
